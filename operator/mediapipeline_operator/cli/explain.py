"""A MediaPipeline's status as a page that a person reads in ten seconds: why is it at this number?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

UNITS = {"Milliseconds": "ms", "Percent": "%", "PerSecond": "/s", "Sessions": ""}


def explanation(resource: Mapping[str, Any]) -> RenderableType:
    """Headline, sentence, signals, blockers, next times and the last decisions. `resource` is the object's JSON."""
    status = resource.get("status") or {}
    scaling = status.get("autoscaling") or {}
    if not scaling:
        return Text("Nothing has been decided yet: the operator has not seen this pipeline, or not measured it.")
    parts = (_headline(resource, status, scaling), _sentence(scaling), _signals(scaling))
    return Group(*parts, _proposals(scaling), _details(scaling), _history(scaling))


def _headline(resource: Mapping[str, Any], status: Mapping[str, Any], scaling: Mapping[str, Any]) -> RenderableType:
    meta = resource.get("metadata") or {}
    text = Text(f"{meta.get('namespace')}/{meta.get('name')}", style="bold")
    replicas, ready = status.get("replicas", 0), status.get("readyReplicas", 0)
    text.append(f"  {replicas} replicas, {ready} ready, {status.get('desiredReplicas', '?')} wanted", style="default")
    text.append(f"  {scaling.get('summary', '')}", style="cyan")
    text.append(f"  data {scaling.get('dataState', 'unknown')}", style=_data_style(str(scaling.get("dataState"))))
    return text


def _data_style(state: str) -> str:
    return "green" if state in ("Fresh", "Idle", "LowSample") else "yellow"


def _sentence(scaling: Mapping[str, Any]) -> RenderableType:
    decision = scaling.get("decision") or {}
    return Text(f"{decision.get('message', '')}  (since {decision.get('time', '?')})\n")


def _signals(scaling: Mapping[str, Any]) -> RenderableType:
    table = Table("signal", "value", "down below", "up above", "asks for", "measured", box=None, pad_edge=False)
    for row in scaling.get("signals") or []:
        unit = UNITS.get(str(row.get("unit")), "")
        cells = [_number(row.get(name), unit) for name in ("value", "low", "high")]
        table.add_row(str(row["name"]), *cells, _number(row.get("proposal"), ""), str(row.get("observedTime", "")))
    return table


def _number(value: Any, unit: str) -> str:
    """Nothing is shown for what is unknown or has no such threshold: a 0 would be a claim."""
    return "" if value is None else f"{value} {unit}".strip()


def _proposals(scaling: Mapping[str, Any]) -> RenderableType:
    found = (scaling.get("decision") or {}).get("proposals") or []
    lines = [f"  {row['replicas']:>3}  {row['reason']}: {row['message']}" for row in found]
    return Text("\n".join(["\nproposals", *lines]) if lines else "\nno rule asks for a number")


def _details(scaling: Mapping[str, Any]) -> RenderableType:
    decision, times = scaling.get("decision") or {}, scaling.get("nextEligible") or {}
    prediction = decision.get("prediction") or {}
    rows = (
        ("not fewer because of", ", ".join(decision.get("blockedBy") or []) or "nothing"),
        ("limited by", ", ".join(decision.get("limitedBy") or []) or "nothing"),
        ("one fewer would be", _prediction(prediction)),
        ("up not before", times.get("scaleUp", "as soon as a rule asks")),
        ("down not before", times.get("scaleDown", "unknown")),
        ("draining", ", ".join(_drain(row) for row in scaling.get("drains") or []) or "none"),
    )
    return Text("\n" + "\n".join(f"{name:<22}{value}" for name, value in rows))


def _prediction(prediction: Mapping[str, Any]) -> str:
    if "utilizationPercent" not in prediction:
        return "unknown"
    busy = prediction.get("deviceBusyPercent")
    device = "" if busy is None else f", devices {busy} % busy"
    return f"{prediction['replicas']} replicas, {prediction['utilizationPercent']} % used{device}"


def _drain(row: Mapping[str, Any]) -> str:
    return f"{row.get('pod')} ({row.get('sessions', 'unknown')} sessions, since {row.get('startedTime')})"


def _history(scaling: Mapping[str, Any]) -> RenderableType:
    table = Table("last decisions", "", "", box=None, pad_edge=False)
    for row in scaling.get("history") or []:
        table.add_row(
            str(row.get("time")), f"{row.get('action')} {row.get('from')}→{row.get('to')}", str(row["message"])
        )
    return Group(Text(""), table)
