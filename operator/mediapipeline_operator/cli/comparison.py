"""A comparison of laws as a table and as a chart that people understand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mediapipeline_operator.core.simulation.compare import SHORT_NAMES, Comparison, full_name
from mediapipeline_operator.core.simulation.score import Score

HEADINGS = ("law", "missed %", "rej. min", "hours", "x bound", "killed", "rev.", "trouble")
LEGEND = (
    "missed frames; session-minutes refused; replica-hours, and as a multiple of the clairvoyant bound's; sessions "
    "that scaling killed; reversals within 10 minutes; the longest time with over 5 % missed or refused"
)


def names_of(text: str) -> tuple[str, ...]:
    """--compare: names by commas. Raises typer.BadParameter with the names that there are."""
    names = tuple(name for name in text.split(",") if name.strip())
    for name in names:
        try:
            full_name(name)
        except KeyError:
            known = ", ".join(SHORT_NAMES)
            raise typer.BadParameter(f"--compare {name}: one of {known}; +drain after a name drains") from None
    return names


def table_of(comparison: Comparison, title: str) -> RenderableType:
    """A row for each law, ours first."""
    table = Table(title=title, title_justify="left", pad_edge=False)
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for name, score in comparison.scores.items():
        table.add_row(name, *_cells(score, comparison), style="bold" if name.startswith("ours") else None)
    bound = f"clairvoyant lower bound: {comparison.bound.replica_hours:.2f} replica-hours (knows all arrivals ahead)"
    return Group(table, Text(LEGEND, style="dim"), Text(bound))


def _cells(score: Score, comparison: Comparison) -> list[str]:
    ratio = score.replica_hours / comparison.bound.replica_hours if comparison.bound.replica_hours else 0.0
    return [
        f"{100 * score.missed_share:.3f}",
        f"{score.rejected_session_minutes:.1f}",
        f"{score.replica_hours:.2f}",
        f"{ratio:.2f}",
        str(score.killed),
        str(score.reversals),
        f"{score.longest_trouble_seconds} s",
    ]


def draw(comparison: Comparison, path: Path, title: str) -> None:
    """Wanted and served sessions, replicas, missed frames over time. Raises typer.BadParameter without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise typer.BadParameter("--plot needs matplotlib: pip install 'mediapipeline-operator[plot]'") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(10, 8), sharex=True)
    for index, (name, score) in enumerate(comparison.scores.items()):
        _lines(axes, name, score, f"C{index}", first=index == 0)
    minutes = [second / 60 for second in range(0, len(comparison.bound.replicas), 10)]
    axes[1].plot(minutes, comparison.bound.replicas[::10], color="grey", linestyle=":", label="clairvoyant bound")
    for axis, label in zip(axes, ("sessions", "replicas that exist", "frames missed, %"), strict=True):
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="upper right")
    axes[2].set_xlabel("minutes")
    axes[0].set_title(title)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _lines(axes: Any, name: str, score: Score, color: str, *, first: bool) -> None:
    minutes = [moment.time / 60 for moment in score.timeline]
    if first:
        axes[0].plot(minutes, [m.demand for m in score.timeline], color="black", linewidth=1, label="wanted")
    width = 1.8 if first else 1.0
    axes[0].plot(minutes, [m.active for m in score.timeline], color=color, linewidth=width, label=f"served, {name}")
    axes[1].plot(minutes, [m.pods for m in score.timeline], color=color, linewidth=width, label=name)
    missed = [100 * moment.missed_share for moment in score.timeline]
    axes[2].plot(minutes, missed, color=color, linewidth=width, label=name)
