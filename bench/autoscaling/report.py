"""Tables, charts and the JSON of the benchmark, and where we lose."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoscaling.job import Result
from autoscaling.runs import half_interval, mean
from rich.console import Console
from rich.table import Table

from mediapipeline_operator.core.simulation.catalogue import OURS_SLO, OURS_THRESHOLD

Cell = tuple[str, str, str]  # world, scenario, law
Results = Mapping[Cell, Sequence[Result]]
FOLDER = Path(__file__).parents[2] / "build" / "bench"
OURS = (OURS_SLO, OURS_THRESHOLD)
MEASURES = {
    "missed": ("missed frames", "%"),
    "rejected": ("rejected session-time", "%"),
    "rejected_session_minutes": ("rejected session-minutes", "min"),
    "replica_hours": ("replica-hours", "h"),
    "ratio": ("replica-hours over the clairvoyant bound's", "x"),
    "killed": ("sessions killed by scaling", "sessions"),
    "reversals": ("reversals within 10 minutes", "count"),
    "recovery_seconds": ("longest spell of trouble", "s"),
    "blind_downs": ("scale-downs without usable measurements", "count"),
    "share_target": ("of that, above 1: the target utilisation", "x"),
    "share_rounding": ("of that, above 1: whole replicas", "x"),
    "share_kept": ("of that, above 1: serving replicas above those", "x"),
    "share_leaving": ("of that, above 1: draining and terminating ones", "x"),
}
PROMISED = ("step", "ramp", "diurnal", "sawtooth")
PROMISES = {"missed": 0.1, "rejected": 0.1, "ratio": 1.5}
SAME = {"missed": 0.02, "rejected": 0.02, "ratio": 0.02}  # closer than this is no difference


def scenes(results: Results) -> list[tuple[str, str]]:
    """(world, scenario) in the order of the runs."""
    return list(dict.fromkeys((world, scenario) for world, scenario, _ in results))


def laws_of(results: Results, scene: tuple[str, str]) -> list[str]:
    """The laws that ran in a scene."""
    return [law for world, scenario, law in results if (world, scenario) == scene]


def show(console: Console, results: Results, scene: tuple[str, str]) -> None:
    """One table: a row for each law."""
    table = Table(title=f"{scene[0]} world, {scene[1]}")
    for title in (
        "law",
        "missed %",
        "rejected %",
        "rej. min",
        "x bound",
        "hours",
        "killed",
        "rev.",
        "trouble s",
        "blind",
    ):
        table.add_column(title, justify="left" if title == "law" else "right")
    for law in laws_of(results, scene):
        runs = results[(*scene, law)]
        values = [mean(runs, name) for name in ("missed", "rejected", "rejected_session_minutes")]
        counts = [mean(runs, name) for name in ("killed", "reversals", "recovery_seconds", "blind_downs")]
        cells = [f"{values[0]:.3f}", f"{values[1]:.3f}", f"{values[2]:.1f}", f"{mean(runs, 'ratio'):.2f}"]
        cells += [f"{mean(runs, 'replica_hours'):.2f}", *(f"{value:.1f}" for value in counts)]
        table.add_row(law, *cells, style="bold" if law.startswith("ours") else None)
    console.print(table)


def better_on_all(one: Sequence[Result], other: Sequence[Result]) -> bool:
    """`one` is nowhere worse than `other` in the triple and somewhere clearly better."""
    gaps = {name: mean(one, name) - mean(other, name) for name in SAME}
    return all(gap <= 0 for gap in gaps.values()) and any(gap < -SAME[name] for name, gap in gaps.items())


def losses(results: Results) -> list[str]:
    """Every scene in which a law beats ours on all three, and every promise that is not kept, in words."""
    found = []
    for scene in scenes(results):
        for us in OURS:
            mine = results[(*scene, us)]
            others = [law for law in laws_of(results, scene) if not law.startswith("ours")]
            winners = [law for law in others if better_on_all(results[(*scene, law)], mine)]
            if winners:
                found.append(f"{scene[0]}, {scene[1]}: {', '.join(winners)} better than {us} on all three")
    return found + broken_promises(results)


def broken_promises(results: Results) -> list[str]:
    """Targets of the design that SLO does not meet."""
    found = []
    for scene in scenes(results):
        if scene[0] == "sticky" and scene[1] in PROMISED:
            runs = results[(*scene, OURS_SLO)]
            for name, limit in PROMISES.items():
                if mean(runs, name) > limit:
                    found.append(f"sticky, {scene[1]}: {MEASURES[name][0]} {mean(runs, name):.3g}, target {limit:g}")
    return found


def rows(results: Results) -> list[dict[str, Any]]:
    """One row for every measure of every scene."""
    return [_row(results, scene, measure) for scene in scenes(results) for measure in MEASURES]


def _row(results: Results, scene: tuple[str, str], measure: str) -> dict[str, Any]:
    title, unit = MEASURES[measure]
    mine = results[(*scene, OURS_SLO)]
    peers = {law: round(mean(results[(*scene, law)], measure), 4) for law in laws_of(results, scene) if law != OURS_SLO}
    return {
        "measure": f"{scene[0]}, {scene[1]}: {title}",
        "unit": unit,
        "direction": "lower",
        "ours": round(mean(mine, measure), 4),
        "spread": round(half_interval(mine, measure), 4),
        "peers": peers,
        "target": _target(scene, measure),
        "note": f"policy SLO at its defaults; mean of {len(mine)} seeds; spread is half of a 95 % interval",
    }


def _target(scene: tuple[str, str], measure: str) -> float | None:
    if measure in ("killed", "blind_downs"):
        return 0.0
    promised = scene[0] == "sticky" and scene[1] in PROMISED
    return PROMISES.get(measure) if promised else None


def write(results: Results, settings: Mapping[str, str], lost: Sequence[str]) -> Path:
    """build/bench/autoscaler.json."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "autoscaler.json"
    content = {
        "benchmark": "autoscaler",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "rig": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "versions": _versions()},
        "rows": rows(results),
        "tuned": dict(settings),
        "losses": list(lost),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "operator": importlib.metadata.version("mediapipeline-operator")}


def pareto(results: Results, world: str) -> Path:
    """One panel for each scenario: what was lost (missed and rejected) against what was paid."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mine = [scene for scene in scenes(results) if scene[0] == world]
    columns = 3
    lines = -(-len(mine) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(12, 2.9 * lines), squeeze=False)
    for axis in axes.flat[len(mine) :]:
        axis.set_axis_off()
    styles: dict[str, Any] = {}
    for axis, scene in zip(axes.flat, mine, strict=False):
        _panel(axis, results, scene, styles)
    figure.legend(styles.values(), styles.keys(), loc="lower center", ncol=4, fontsize=7, frameon=False)
    figure.supylabel("replica-hours / clairvoyant bound", fontsize=9)
    figure.suptitle(f"{world} world: lower left is better (x: missed % + rejected %, logarithmic)", fontsize=10)
    figure.tight_layout(rect=(0.02, 0.09 if lines < 4 else 0.07, 1, 0.98))
    path = FOLDER / f"autoscaler-{world}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    plt.close(figure)
    return path


MARKERS = "ovs^D*Pp<>hX8dH"


def _panel(axis: Any, results: Results, scene: tuple[str, str], styles: dict[str, Any]) -> None:
    axis.set_title(scene[1], fontsize=9)
    axis.set_xscale("symlog", linthresh=0.01)
    axis.set_xlim(-0.002, 100)
    for index, law in enumerate(laws_of(results, scene)):
        runs = results[(*scene, law)]
        lost = mean(runs, "missed") + mean(runs, "rejected")
        ours = law.startswith("ours")
        points = axis.scatter(
            lost,
            mean(runs, "ratio"),
            marker="*" if ours else MARKERS[index % len(MARKERS)],
            s=130 if ours else 28,
            color=f"C{index % 10}",
            edgecolors="black" if ours else None,
            zorder=3 if ours else 2,
        )
        styles.setdefault(law, points)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
