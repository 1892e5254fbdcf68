"""build/demo/report.json: what happened, in numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from devcluster.demo.observation import Observation
from devcluster.demo.options import DemoOptions, device_note
from devcluster.demo.story import Phase, Story
from devcluster.demo.verdict import Check, FrameFacts

Looks = Sequence[tuple[Story, Observation]]


def report(
    options: DemoOptions,
    kubernetes_version: str,
    steps: Mapping[str, float],
    looks: Looks,
    frames: FrameFacts | None,
    results: Sequence[Check],
) -> dict[str, Any]:
    """Everything as JSON. Durations in seconds; `p95` is the median of what the operator read in that phase, null
    where it lay beyond the histogram's last bound."""
    observations = [seen for _, seen in looks]
    last = observations[-1] if observations else Observation(0.0)
    return {
        "passed": bool(results) and all(check.passed for check in results),
        "device": device_note(options),
        "control": str(options.control),
        "kubernetesVersion": kubernetes_version,
        "checks": [asdict(check) for check in results],
        "sessionsKilledByScaling": last.load.ended_by_server,
        "frames": asdict(frames) if frames else None,
        "p95Milliseconds": {
            str(phase): _phase_p95(looks, phase) for phase in (Phase.CALM, Phase.OVERLOAD, Phase.RELIEF)
        },
        "replicasOverTime": _changes(observations),
        "decisions": decisions(observations),
        "stepSeconds": {name: round(seconds, 1) for name, seconds in steps.items()},
    }


def decisions(observations: Sequence[Observation]) -> list[Mapping[str, Any]]:
    """Every decision that was seen, once, in the order of its time."""
    seen: dict[str, Mapping[str, Any]] = {}
    for look in observations:
        for one in (*look.history, look.decision):
            if one:
                seen.setdefault(str(one.get("id")), one)
    return sorted(seen.values(), key=lambda one: str(one.get("time", "")))


def _phase_p95(looks: Looks, phase: Phase) -> dict[str, float | None]:
    inside = [seen for story, seen in looks if story.phase is phase and seen.miss_per_mille is not None]
    values = [float("inf") if seen.p95_milliseconds is None else float(seen.p95_milliseconds) for seen in inside]
    middle = median(values) if values else None
    return {
        "median": None if middle == float("inf") else middle,
        "worstMissPercent": max((seen.miss_per_mille or 0 for seen in inside), default=0) / 10,
    }


def _changes(observations: Sequence[Observation]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for seen in observations:
        row = {"replicas": seen.replicas, "ready": seen.ready, "desired": seen.desired, "draining": seen.draining}
        if not rows or any(rows[-1][name] != value for name, value in row.items()):
            rows.append({"second": round(seen.time_seconds, 1), **row})
    return rows
