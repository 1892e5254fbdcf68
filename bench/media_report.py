"""Rows, table and JSON of a media benchmark (the format of every benchmark of this repository)."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[1] / "build" / "bench"
PACKAGES = ("aiortc", "aioice", "av", "uvloop", "numpy", "opencv-python-headless")


def row(
    measure: str,
    unit: str,
    ours: Sequence[float],
    peers: Mapping[str, Sequence[float]],
    *,
    higher: bool = False,
    target: float | None = None,
    note: str = "",
) -> dict[str, Any]:
    """One measure: medians of the repeats; spread is the distance from the lowest to the highest of ours."""
    return {
        "measure": measure,
        "unit": unit,
        "direction": "higher" if higher else "lower",
        "ours": _median(ours),
        "spread": round(max(ours) - min(ours), 3) if ours and max(ours) < math.inf else None,
        "peers": {name: _median(values) for name, values in peers.items()},
        "target": target,
        "note": note if ours else note or "not measured",
    }


def _median(values: Sequence[float]) -> float | None:
    finite = [value for value in values if value != float("inf")]
    return round(statistics.median(finite), 3) if finite and len(finite) * 2 > len(values) else None


def write(
    name: str, rows: list[dict[str, Any]], more_of_rig: Mapping[str, object] | None = None, folder: Path = FOLDER
) -> Path:
    """Write build/bench/NAME.json; returns its path."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES}
    rig = {"cpu": _cpu(), "cores": os.cpu_count(), "versions": versions, "load": os.getloadavg(), **(more_of_rig or {})}
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    content = {"benchmark": name, "date": date, "commit": commit, "rig": rig, "rows": rows}
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the table; where a peer is better or the target is missed, ours is red."""
    names = list(dict.fromkeys(name for one in rows for name in one["peers"]))
    table = Table("measure", "unit", "ours", "spread", "target", *names, "note", title=title)
    for one in rows:
        ours = _text(one["ours"])
        colour = "red" if _loses(one) else "green"
        peers = [_text(one["peers"].get(name)) for name in names]
        table.add_row(
            one["measure"],
            one["unit"],
            f"[{colour}]{ours}[/]",
            _text(one["spread"]),
            _text(one["target"]),
            *peers,
            one["note"],
        )
    Console(width=None if os.isatty(1) else 180).print(table)


def _loses(one: Mapping[str, Any]) -> bool:
    if one["ours"] is None:
        return True
    sign = -1 if one["direction"] == "higher" else 1
    rivals = [value for value in (*one["peers"].values(), one["target"]) if value is not None]
    return any(sign * one["ours"] > sign * rival for rival in rivals)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
