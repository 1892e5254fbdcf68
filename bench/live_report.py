"""Rows, tables and the chart of bench/live.py."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from live_cluster import HPA, OURS, Look
from live_replay import Result
from media_report import FOLDER
from rich.console import Console
from rich.table import Table

from mediapipeline_operator.core.simulation.score import Direction, Score

CHART = FOLDER / "live.png"
TITLES = {OURS: "ours (SLO)", HPA: "HPA on p95, draining"}
MEASURES = {
    "missed_share": ("missed frames", "%", 100.0),
    "rejected_share": ("rejected session-time", "%", 100.0),
    "rejected_session_minutes": ("rejected session-minutes", "min", 1.0),
    "replica_hours": ("replica-hours", "h", 1.0),
    "killed": ("sessions killed by scaling", "sessions", 1.0),
    "lost": ("sessions lost otherwise", "sessions", 1.0),
    "reversals": ("reversals within 10 minutes", "count", 1.0),
    "ups": ("scale-ups", "count", 1.0),
    "downs": ("scale-downs", "count", 1.0),
}
REMOVAL_SECONDS = 60.0  # a client notices silence late on a crowded machine
LOOK_SECONDS = 2.0
JUDGED = ("missed_share", "rejected_share", "rejected_session_minutes", "replica_hours", "killed", "reversals")


@dataclass(frozen=True)
class Twin:
    """What one pipeline's run left behind. `missed`: (seconds, share) over time."""

    looks: Sequence[Look]
    missed_share: float
    missed: Sequence[tuple[float, float]]
    clients: Mapping[str, Any]
    wanted: Sequence[int]
    served: Sequence[int]


def result_of(twin: Twin) -> Result:
    """The measured run in the terms of the simulator's score."""
    absent = sum(one["absentSeconds"] for one in twin.clients["visits"])
    demand = sum(one["end"] - one["start"] for one in twin.clients["visits"])
    steps = _steps(twin.looks)
    ends = [one["time"] - twin.clients["began"] for one in twin.clients["totals"]["endedByServer"]]
    killed = sum(_is_after_a_removal(end, twin.looks) for end in ends)
    return Result(
        missed_share=twin.missed_share,
        rejected_share=absent / demand,
        rejected_session_minutes=absent / 60,
        replica_hours=_replica_seconds(twin.looks) / 3600,
        killed=killed,
        lost=len(ends) - killed,
        reversals=steps.reversals,
        ups=steps.ups,
        downs=steps.downs,
    )


def _is_after_a_removal(seconds: float, looks: Sequence[Look]) -> bool:
    """Whether the number of replicas fell shortly before: only then may scaling have ended a session."""
    near = [one.pods for one in looks if seconds - REMOVAL_SECONDS <= one.seconds <= seconds + LOOK_SECONDS]
    return any(after < before for before, after in itertools.pairwise(near))


def _replica_seconds(looks: Sequence[Look]) -> float:
    return sum(here.pods * (after.seconds - here.seconds) for here, after in itertools.pairwise(looks))


def longest_wait(looks: Sequence[Look]) -> float:
    """Seconds of the longest spell in which a replica existed that neither served nor drained."""
    longest, since = 0.0, None
    for one in looks:
        since = None if one.ready + one.draining >= one.pods else (one.seconds if since is None else since)
        longest = max(longest, one.seconds - since) if since is not None else longest
    return longest


def _steps(looks: Sequence[Look]) -> Score:
    score, direction = Score(), Direction(looks[0].serving)
    for one in looks:
        direction.see(one.serving, one.seconds, score, blind=False)
    return score


def rows(measured: Mapping[str, Result], simulated: Mapping[str, Result], note: str) -> list[dict[str, Any]]:
    """A row for each measure, and one for the simulator's difference to it."""
    found = [_row(name, "", {who: getattr(one, name) for who, one in measured.items()}, note) for name in MEASURES]
    for name in MEASURES:
        gaps = {who: getattr(simulated[who], name) - getattr(one, name) for who, one in measured.items()}
        found.append(_row(name, ", simulator minus cluster", gaps, "the recorded load through the simulator"))
    return found


def _row(name: str, suffix: str, values: Mapping[str, float], note: str) -> dict[str, Any]:
    title, unit, factor = MEASURES[name]
    target = 0.0 if name == "killed" and not suffix else None
    return {
        "measure": title + suffix,
        "unit": unit,
        "direction": "lower",
        "ours": round(factor * values[OURS], 4),
        "spread": None,
        "peers": {TITLES[HPA]: round(factor * values[HPA], 4)},
        "target": target,
        "note": note,
    }


def show(console: Console, measured: Mapping[str, Result], simulated: Mapping[str, Result]) -> None:
    """Cluster, simulator and their difference side by side."""
    table = Table(title="the same real WebRTC load on twin pipelines, and through the simulator", title_justify="left")
    table.add_column("measure")
    for who in (OURS, HPA):
        for what in ("cluster", "simulator", "difference"):
            table.add_column(f"{TITLES[who]}\n{what}", justify="right")
    for name, (title, unit, factor) in MEASURES.items():
        cells = []
        for who in (OURS, HPA):
            real, model = factor * getattr(measured[who], name), factor * getattr(simulated[who], name)
            cells += [f"{real:.2f}", f"{model:.2f}", f"{model - real:+.2f}"]
        table.add_row(f"{title}, {unit}", *cells)
    console.print(table)


def verdict(measured: Mapping[str, Result]) -> str:
    """Who was better at what, in one sentence."""
    names = {name: (getattr(measured[OURS], name), getattr(measured[HPA], name)) for name in JUDGED}
    better = [MEASURES[name][0] for name, (us, them) in names.items() if us < them]
    worse = [MEASURES[name][0] for name, (us, them) in names.items() if us > them]
    return f"ours better: {', '.join(better) or 'nothing'}; HPA better: {', '.join(worse) or 'nothing'}"


def draw(twins: Mapping[str, Twin], replayed: Mapping[str, Score], note: str, path: Path = CHART) -> None:
    """Sessions, replicas (measured and simulated) and missed frames over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(10, 8.5), sharex=True)
    wanted = twins[OURS].wanted
    axes[0].plot(_minutes(range(len(wanted))), wanted, color="black", linewidth=1, label="wanted")
    for index, (name, twin) in enumerate(twins.items()):
        _lines(axes, name, twin, replayed[name], f"C{index}")
    for axis, label in zip(axes, ("sessions", "replicas that exist", "frames missed, %"), strict=True):
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper right")
    axes[0].set_title(f"Real HPA controller and our law, real WebRTC load, one cluster\n{note}", fontsize=10)
    axes[2].set_xlabel("minutes")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _lines(axes: Any, name: str, twin: Twin, replay: Score, color: str) -> None:
    title, looks = TITLES[name], twin.looks
    axes[0].plot(_minutes(range(len(twin.served))), twin.served, color=color, label=f"served, {title}")
    axes[1].step(_minutes(one.seconds for one in looks), [one.pods for one in looks], color=color, label=title)
    modelled = [moment.pods for moment in replay.timeline]
    times = _minutes(moment.time for moment in replay.timeline)
    axes[1].step(times, modelled, color=color, linestyle=":", label=f"{title}, simulated")
    axes[2].plot(
        _minutes(at for at, _ in twin.missed), [100 * share for _, share in twin.missed], color=color, label=title
    )
    model = [100 * moment.missed_share for moment in replay.timeline]
    axes[2].plot(times, model, color=color, linestyle=":", label=f"{title}, simulated")


def _minutes(seconds: Any) -> list[float]:
    return [one / 60 for one in seconds]
