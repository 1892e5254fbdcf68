"""The load of bench/live.py: one plan of visits, played against each of the twins by real WebRTC clients."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from live_cluster import FRAMES_PER_SECOND, SIZE, SPEC

from devcluster.controlplane.processes import tied_to_parent
from mediapipeline_operator.core.simulation.loads import Lengths, Load, Shape, Visit, load_of, piecewise

PEAK_SESSIONS = 36
SESSION_SECONDS = 150.0
END_SECONDS = 180.0  # for the clients to close, on a crowded machine


def plan(minutes: float, seed: int = 1) -> Load:
    """Two waves, the second of two thirds: calm, a minute to the first peak, most leave at once, the same again."""
    end = 60 * minutes
    points = ((0.0, 0.22), (0.15, 0.22), (0.23, 1.0), (0.42, 1.0), (0.421, 0.22), (0.65, 0.22), (0.72, 0.67))
    cuts = ((0.42 * end, 0.7), (0.85 * end, 0.6))
    curve = piecewise(*((end * share, value) for share, value in (*points, (0.85, 0.67), (0.851, 0.22))))
    shape = Shape(round(end), curve, Lengths(SESSION_SECONDS), cuts)
    load = load_of("live", shape, PEAK_SESSIONS, random.Random(seed))
    visits = (Visit(one.arrival, min(one.end, end), FRAMES_PER_SECOND) for one in load.visits if one.arrival < end - 5)
    return replace(load, visits=tuple(visits))


class Clients:
    """A process that plays the plan against one pipeline. A context manager; leaving it ends what still runs."""

    def __init__(self, name: str, url: str, folder: Path, load: Load, began: float) -> None:
        self.name = name
        self._report, self._log = folder / f"load-{name}.json", folder / f"load-{name}.log"
        visits = folder / "visits.json"
        visits.write_text(json.dumps([[one.arrival, one.end] for one in load.visits]))
        stages = json.dumps(SPEC["pipeline"]["stages"])
        self._command = (
            *(sys.executable, "-m", "devcluster.load.cli", "visits", "--url", url, "--plan", str(visits)),
            *("--report", str(self._report), "--began", str(began), "--stages", stages, "--size", SIZE),
            *("--frames-per-second", str(FRAMES_PER_SECOND), "--bits-per-second", "80000"),
            *("--inspector-share", "0.02"),
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(tied_to_parent(self._command), stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def report(self) -> dict[str, Any]:
        """Waits for the end of the run. Raises RuntimeError with the log's end when the clients failed."""
        assert self._process is not None
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        if code or not self._report.exists():
            raise RuntimeError(f"clients of {self.name} ended with {code}: {self._log.read_text()[-2000:]}")
        found: dict[str, Any] = json.loads(self._report.read_text())
        return found


def recorded(report: Mapping[str, Any], planned: Load) -> Load:
    """The load as it was really played: from when each visit's first session asked for service."""
    spans = [(one["offered"], one["end"]) for one in report["visits"] if one["offered"] is not None]
    visits = sorted((Visit(start, end, FRAMES_PER_SECOND) for start, end in spans), key=lambda visit: visit.arrival)
    return replace(planned, name="recorded", visits=tuple(visits))


def sessions_over_time(report: Mapping[str, Any], seconds: int) -> tuple[list[int], list[int]]:
    """Wanted and connected sessions at every second."""
    wanted = [0] * seconds
    served = [0] * seconds
    for visit in report["visits"]:
        _add(wanted, visit["start"], visit["end"])
        for span in visit["sessions"]:
            if span:
                _add(served, *span)
    return wanted, served


def _add(counts: list[int], start: float, end: float) -> None:
    for second in range(max(0, round(start)), min(len(counts), round(end))):
        counts[second] += 1
