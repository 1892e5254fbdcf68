"""What was measured, as rows: a table for people and build/bench/operator.json (form of every benchmark here)."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "bench" / "operator.json"
PEER = "plain kopf"
CHANGES_PER_SECOND = 50
FEW_PER_SECOND = 10  # that two cores carry together with the API server
RIG = "etcd and kube-apiserver alone, etcd with --unsafe-no-fsync; canned Prometheus; all on the same cores"


@dataclass(frozen=True)
class Measure:
    """One row: `target` at 5,000 pipelines, None where the issue and the design set none."""

    words: str
    unit: str
    target: float | None = None
    note: str = ""
    baseline_has_it: bool = True


MEASURES = {
    "restart": Measure("restart to first full pass", "s", 20.0, "from the start of the process"),
    "restart_cpu": Measure("CPU time until then", "s"),
    "writes": Measure("writes at a restart and in two ticks after it", "requests", 0.0),
    "memory": Measure("resident memory then", "MB", 600.0),
    "memory_peak": Measure("most memory until then", "MB"),
    "tick": Measure("scaling tick, queries to last decision", "s", 3.0, "", baseline_has_it=False),
    "batch": Measure("queries of a tick", "s", None, "part of the tick", baseline_has_it=False),
    "tick_cpu": Measure("CPU time in the time of a tick", "s", None, "all that the process does in it"),
    "queries": Measure("number of queries a tick", "queries"),
    "applied": Measure(f"change to child, p99 at {CHANGES_PER_SECOND} changes/s", "s", 1.0),
    "applied_median": Measure(f"change to child, median at {CHANGES_PER_SECOND} changes/s", "s"),
    "change_cpu": Measure("CPU time of a change", "ms", None, "ticks in that time included"),
    "change_servers_cpu": Measure(
        "CPU time of API server and etcd for a change", "ms", None, "the bench's own writes too"
    ),
    "failover": Measure("killed leader to next tick", "s", 20.0, "", baseline_has_it=False),
    "failover_all": Measure("killed leader until all were decided", "s", None, "", baseline_has_it=False),
    "graceful": Measure("stopped leader to next tick", "s", 2.0, "", baseline_has_it=False),
    "graceful_all": Measure("stopped leader until all were decided", "s", None, "", baseline_has_it=False),
    "idle": Measure("CPU while all are paused", "% of a core", 2.0),
}


@dataclass
class Found:
    """Of one operator at one size: the repeats of each measure, and why some are missing."""

    values: dict[str, list[float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, measured: Mapping[str, float]) -> None:
        """One more repeat of some measures, shown at once: a run takes an hour."""
        print("  " + ", ".join(f"{name} {value:.3f}" for name, value in measured.items()), flush=True)
        for name, value in measured.items():
            self.values.setdefault(name, []).append(value)

    def missing(self, names: Iterable[str], reason: str) -> None:
        """These have no value, or no more repeats. The first reason stays."""
        for name in names:
            self.reasons.setdefault(name, reason)

    def median(self, name: str) -> float | None:
        """Of the repeats."""
        known = self.values.get(name)
        return round(statistics.median(known), 3) if known else None

    def spread(self, name: str) -> float | None:
        """From the lowest to the highest of the repeats; None of a single one."""
        known = self.values.get(name, [])
        return round(max(known) - min(known), 3) if len(known) > 1 else None


def rows(size: int, ours: Found, peer: Found) -> list[dict[str, Any]]:
    """One row a measure; targets are those of 5,000 pipelines."""
    return [
        {
            "measure": f"{measure.words}, {size} pipelines",
            "unit": measure.unit,
            "direction": "lower",
            "ours": ours.median(name),
            "spread": ours.spread(name),
            "peers": {PEER: peer.median(name)},
            "target": measure.target,
            "note": "; ".join(_notes(name, measure, ours, peer)),
        }
        for name, measure in MEASURES.items()
    ]


def _notes(name: str, measure: Measure, ours: Found, peer: Found) -> Iterable[str]:
    if measure.note:
        yield measure.note
    if len(ours.values.get(name, ())) > 1:
        yield f"median of {len(ours.values[name])}"
    if name in ours.reasons or not ours.values.get(name):
        yield f"ours: {ours.reasons.get(name, 'not measured')}"
    if not measure.baseline_has_it:
        yield "the baseline has no such thing"
    elif name in peer.reasons or not peer.values.get(name):
        yield f"baseline: {peer.reasons.get(name, 'not measured')}"


def write(found: Sequence[Mapping[str, Any]]) -> Path:
    """Writes the JSON; returns its path. What this run has not measured stays as an earlier run has left it."""
    commit = subprocess.run(("git", "rev-parse", "HEAD"), cwd=ROOT, capture_output=True, text=True, check=False)
    versions = {name: version(name) for name in ("kopf", "kubernetes", "aiohttp")}
    versions["python"] = platform.python_version()
    rig = {"cpu": _cpu(), "cores": os.cpu_count(), "versions": versions, "load": os.getloadavg(), "setup": RIG}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    content = {
        "benchmark": "operator",
        "date": date,
        "commit": commit.stdout.strip(),
        "rig": rig,
        "rows": _merged(found),
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(content, indent=1) + "\n")
    return OUTPUT


def _merged(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    earlier = json.loads(OUTPUT.read_text())["rows"] if OUTPUT.exists() else []
    known = {row["measure"]: row for row in earlier}
    for row in found:
        old = known.get(row["measure"])
        if old is None or row["ours"] is not None or row["peers"][PEER] is not None:
            known[row["measure"]] = row if old is None else _newer(old, row)
    return list(known.values())


def _newer(old: Mapping[str, Any], row: Mapping[str, Any]) -> Mapping[str, Any]:
    if row["ours"] is None:
        return {**row, **{name: old[name] for name in ("ours", "spread")}}
    return row if row["peers"][PEER] is not None else {**row, "peers": old["peers"]}


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def show(found: Sequence[Mapping[str, Any]]) -> None:
    """A table; in red what misses its target or is worse than the baseline."""
    table = Table("measure", "unit", "ours", "spread", PEER, "target at 5000", "note")
    for row in found:
        numbers = (row["ours"], row["spread"], row["peers"][PEER], row["target"])
        texts = ["" if value is None else f"{value:g}" for value in numbers]
        texts[0] = f"[red]{texts[0] or '-'}[/]" if _loses(row) else texts[0]
        table.add_row(row["measure"], row["unit"], *texts, row["note"])
    Console(width=170).print(table)


def _loses(row: Mapping[str, Any]) -> bool:
    limits = [limit for limit in (row["target"], row["peers"][PEER]) if limit is not None]
    return row["ours"] is None or any(row["ours"] > limit for limit in limits)
