"""A MediaPipeline's status as a page that a person reads in ten seconds: why is it at this number?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mediapipeline_operator.core.scaling import Blocker, Limit
from mediapipeline_operator.core.scaling.counting import counted
from mediapipeline_operator.core.scaling.wording import BLOCKER_TEXTS

UNITS = {"Milliseconds": "ms", "Percent": "%", "PerSecond": "/s", "Sessions": ""}
LIMIT_TEXTS = {
    Limit.MAX_REPLICAS: "maxReplicas",
    Limit.MIN_REPLICAS: "minReplicas",
    Limit.RATE: "double or four more a minute",
    Limit.UNCONFIRMED: "a large step waits for the next tick to ask for it too",
    Limit.INEFFECTIVE: "the last replicas did not help",
}


def explanation(resource: Mapping[str, Any], now: datetime | None = None) -> RenderableType:
    """Headline, sentence, signals, blockers, next times and the last decisions.

    `resource` is the object's JSON; `now` (default: this moment) is what ages are counted from.
    """
    status = resource.get("status") or {}
    scaling = status.get("autoscaling") or {}
    if not scaling:
        return Text("Nothing has been decided yet: the operator has not seen this pipeline, or not measured it.")
    moment = datetime.now(UTC) if now is None else now
    parts = (_headline(resource, status, scaling), _sentence(scaling, moment), _signals(status, scaling, moment))
    return Group(*parts, _proposals(scaling), _details(scaling, moment), _history(scaling))


def _headline(resource: Mapping[str, Any], status: Mapping[str, Any], scaling: Mapping[str, Any]) -> RenderableType:
    meta = resource.get("metadata") or {}
    text = Text(f"{meta.get('namespace')}/{meta.get('name')}", style="bold")
    replicas, ready = int(status.get("replicas", 0)), status.get("readyReplicas", 0)
    text.append(f"  {counted(replicas, 'replica')}, {ready} ready, ", style="default")
    text.append(f"{status.get('desiredReplicas', '?')} wanted", style="bold")
    text.append(f"  {scaling.get('summary', '')}", style="cyan")
    text.append(f"  data {scaling.get('dataState', 'unknown')}", style=_data_style(str(scaling.get("dataState"))))
    return text


def _data_style(state: str) -> str:
    return "green" if state in ("Fresh", "Idle", "LowSample") else "yellow"


def _sentence(scaling: Mapping[str, Any], now: datetime) -> RenderableType:
    """The decision, one part a line: the first says why, the others what else to know."""
    decision = scaling.get("decision") or {}
    first, *rest = str(decision.get("message", "")).split("; ")
    text = Text(first, style="bold")
    text.append("".join(f"\n  {part}" for part in rest), style="default")
    return text.append(f"\n  since {_moment(decision.get('time'), now)}\n", style="default")


def _moment(time: Any, now: datetime) -> str:
    """`12:04:30 (20 s ago)` or `(in 2 min)`; the date only where it is another day."""
    parsed = _parsed(time)
    if parsed is None:
        return "an unknown time"
    seconds = round((now - parsed).total_seconds())
    shown = f"{parsed:%H:%M:%S}" if parsed.date() == now.date() else f"{parsed:%Y-%m-%d %H:%M:%S}"
    return f"{shown} UTC ({_span(seconds)} ago)" if seconds >= 0 else f"{shown} UTC (in {_span(-seconds)})"


def _parsed(time: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(time)).astimezone(UTC)
    except ValueError:
        return None


def _span(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _signals(status: Mapping[str, Any], scaling: Mapping[str, Any], now: datetime) -> RenderableType:
    table = Table("signal", "value", "age", "down below", "up above", "asks for", box=None, pad_edge=False)
    for row in scaling.get("signals") or []:
        unit = UNITS.get(str(row.get("unit")), "")
        value, low, high = (_number(row.get(name), unit) for name in ("value", "low", "high"))
        value = value or _above_the_buckets(status, row)
        table.add_row(
            str(row["name"]), value, _age(row.get("observedTime"), now), low, high, _number(row.get("proposal"), "")
        )
    return table


def _above_the_buckets(status: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """With over 5 % of the frames dropped, p95 is above every bucket: no number, but not unknown either."""
    summary = (status.get("latency") or {}).get("summary", "")
    return str(summary) if str(row["name"]).endswith("Latency") and str(summary).startswith(">") else ""


def _age(time: Any, now: datetime) -> str:
    parsed = _parsed(time)
    return "" if parsed is None else _span(max(0, round((now - parsed).total_seconds())))


def _number(value: Any, unit: str) -> str:
    """Nothing is shown for what is unknown or has no such threshold: a 0 would be a claim."""
    return "" if value is None else f"{value} {unit}".strip()


def _proposals(scaling: Mapping[str, Any]) -> RenderableType:
    found = (scaling.get("decision") or {}).get("proposals") or []
    lines = [f"  {row['replicas']:>3}  {row['reason']}: {row['message']}" for row in found]
    return Text("\n".join(["\nasked for, the largest wins", *lines]) if lines else "\nno rule asks for a number")


def _details(scaling: Mapping[str, Any], now: datetime) -> RenderableType:
    decision, times = scaling.get("decision") or {}, scaling.get("nextEligible") or {}
    prediction = decision.get("prediction") or {}
    rows = (
        ("not fewer, because", _words(decision.get("blockedBy"), _blocker_text)),
        ("limited by", _words(decision.get("limitedBy"), _limit_text)),
        ("one fewer would be", _prediction(prediction)),
        ("up not before", _eligible(times.get("scaleUp"), now, "as soon as a rule asks")),
        ("down not before", _eligible(times.get("scaleDown"), now, "unknown")),
        ("draining", ", ".join(_drain(row, now) for row in scaling.get("drains") or []) or "none"),
    )
    lines = Table.grid(padding=(0, 3))
    for row in rows:
        lines.add_row(*row)
    return Group(Text(""), lines)


def _eligible(time: Any, now: datetime, otherwise: str) -> str:
    """A time that has passed holds nothing up any more."""
    parsed = _parsed(time)
    if parsed is None:
        return otherwise
    return "no wait left" if parsed <= now else _moment(time, now)


def _words(found: Any, text_of: Any) -> str:
    return "\n".join(text_of(str(word)) for word in _items(found)) or "nothing"


def _items(found: Any) -> Iterable[Any]:
    return found if isinstance(found, list) else ()


def _blocker_text(word: str) -> str:
    """A word of a newer operator is shown as it is."""
    return f"{BLOCKER_TEXTS[Blocker(word)]} ({word})" if word in set(Blocker) else word


def _limit_text(word: str) -> str:
    return f"{LIMIT_TEXTS[Limit(word)]} ({word})" if word in set(Limit) else word


def _prediction(prediction: Mapping[str, Any]) -> str:
    if "utilizationPercent" not in prediction:
        return "unknown"
    busy = prediction.get("deviceBusyPercent")
    device = "" if busy is None else f", devices {busy} % busy"
    return f"{counted(prediction['replicas'], 'replica')}, {prediction['utilizationPercent']} % used{device}"


def _drain(row: Mapping[str, Any], now: datetime) -> str:
    sessions = row.get("sessions")
    left = counted(sessions, "session") if isinstance(sessions, int) else "unknown sessions"
    return f"{row.get('pod')} ({left}, since {_moment(row.get('startedTime'), now)})"


def _history(scaling: Mapping[str, Any]) -> RenderableType:
    rows = scaling.get("history") or []
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(str(row.get("time")), str(row["message"]).split("; ")[0])
    return Group(Text("\nlast decisions" if rows else "\nno decision has changed anything yet"), table)
