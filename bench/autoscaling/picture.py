"""The benchmark in one picture for people who have never read a Pareto plot: bars, drawn from the JSON alone.

`make bench-autoscaler` draws it; from a result that is there already, in bench/:
    python -m autoscaling.picture ../build/bench/autoscaler.json ../docs/autoscaler.png
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LAWS = {
    "ours SLO": "this operator (SLO)",
    "ours Threshold": "this operator (Threshold)",
    "HPA sessions": "HPA on sessions",
    "KPA sessions": "Knative KPA on sessions",
    "llm-d SLO": "llm-d's SLO law",
    "HPA p95": "HPA on p95",
    "KEDA default": "KEDA on p95, default",
    "bare rule": "bare rule on p95",
}
SCENES = {
    "sticky, step": "arrivals quadruple",
    "sticky, diurnal": "a day in two hours",
    "sticky, spike": "a spike in 30 s",
    "sticky, Prometheus down 15 min": "Prometheus down\nfor 15 min",
}
MEASURES: Sequence[tuple[str, tuple[str, ...]]] = (
    ("lost, %\n(frames missed +\nsession-time refused)", ("missed frames", "rejected session-time")),
    ("replicas paid\n(1 = a clairvoyant's)", ("replica-hours over the clairvoyant bound's",)),
    ("live sessions killed\nby scaling", ("sessions killed by scaling",)),
)
OURS_COLOR, PEER_COLOR = "#0b6e4f", "#a9b4bf"
TITLE = "The same load, the same pods: less is better in every bar"


def values(rows: Sequence[Mapping[str, Any]], scene: str, measures: Sequence[str]) -> list[float]:
    """The sum of some measures for each law, in the order of LAWS."""
    found = [row for row in rows if row["measure"] in {f"{scene}: {measure}" for measure in measures}]
    return [sum(row["ours"] if law == "ours SLO" else row["peers"][law] for row in found) for law in LAWS]


def is_possible(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every scene of the picture was run."""
    known = {row["measure"] for row in rows}
    return all(f"{scene}: {measure}" in known for scene in SCENES for _, names in MEASURES for measure in names)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    size = (len(MEASURES), len(SCENES))
    figure, axes = plt.subplots(*size, figsize=(12, 9), sharey=True, squeeze=False)
    for line, (label, measures) in enumerate(MEASURES):
        for column, (scene, name) in enumerate(SCENES.items()):
            _bars(axes[line][column], values(rows, scene, measures))
            if line == 0:
                axes[line][column].set_title(name, fontsize=11)
        axes[line][0].set_ylabel(label, fontsize=10, rotation=0, ha="right", va="center", labelpad=12)
    figure.suptitle(TITLE, fontsize=12)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _bars(axis: Any, numbers: Sequence[float]) -> None:
    colors = [OURS_COLOR if law.startswith("ours") else PEER_COLOR for law in LAWS]
    bars = axis.barh(list(LAWS.values()), numbers, color=colors)
    axis.bar_label(bars, labels=[_shown(number) for number in numbers], fontsize=8, padding=2)
    axis.set_xlim(0, max(*numbers, 1e-9) * 1.25)
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
    axis.set_xticks([])
    axis.tick_params(axis="y", labelsize=9, length=0)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)


def _shown(number: float) -> str:
    return "0" if number == 0 else f"{number:.2g}" if number < 10 else f"{number:.0f}"


def main() -> None:
    """Draws what a benchmark has found."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    draw(json.loads(source.read_text(encoding="utf-8"))["rows"], target)


if __name__ == "__main__":
    main()
