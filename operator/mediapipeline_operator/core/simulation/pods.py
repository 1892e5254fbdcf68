"""A modelled pod: its life, its sessions and the counters that Prometheus scrapes."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from mediapipeline_operator.core.simulation.device import Device

REMEMBERED_SECONDS = 5


@dataclass(eq=False)
class SimPod:
    """Times are seconds from the start of the run. `frames_at` counts received frames by row of the device's table."""

    name: str
    number: int
    created: float
    startup_seconds: float
    scrape_phase: float
    slowdown: float = 1.0
    revision: int = 0
    scheduled: float | None = None  # when a node was found
    ready_since: float | None = None
    marked: float | None = None  # the draining label, and since when
    first: bool = False  # of several draining ones, by its deletion cost
    draining: bool = False  # what the pod itself does
    deleted: float | None = None  # when its deletion began
    replaced: bool = False  # deleted by a rollout, not by scaling
    sessions: set[int] = field(default_factory=set)
    frames_per_second: int = 0
    frames_at: dict[int, float] = field(default_factory=dict)
    rejected: float = 0.0
    busy_seconds: float = 0.0
    newest_session: float = -math.inf  # when the last one came
    _lately: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=REMEMBERED_SECONDS))

    @property
    def terminating(self) -> bool:
        return self.deleted is not None

    @property
    def takes_sessions(self) -> bool:
        return self.ready_since is not None and not self.draining and self.deleted is None

    def started(self, now: float) -> bool:
        return self.scheduled is not None and now >= self.scheduled + self.startup_seconds

    def settle(self, now: float) -> None:
        """Readiness: once started, unless it drains; again when it no longer does."""
        ready = self.started(now) and not self.draining and self.deleted is None
        if ready and self.ready_since is None:
            self.ready_since = now
        elif not ready:
            self.ready_since = None

    def work(self, device: Device) -> tuple[float, float]:
        """One second of frames. Returns (received, missed)."""
        if not self.frames_per_second:
            self._lately.append((0.0, 0.0, 0.0))
            return 0.0, 0.0
        step = device.step(self.frames_per_second, self.slowdown)
        self.frames_at[step] = self.frames_at.get(step, 0.0) + self.frames_per_second
        busy = min(1.0, self.frames_per_second * device.service_seconds * self.slowdown)
        self.busy_seconds += busy
        received, missed = float(self.frames_per_second), self.frames_per_second * device.missed(step)
        self._lately.append((busy, received, missed))
        return received, missed

    def busy_share(self, seconds: int) -> float:
        """Of the device, in the last seconds (REMEMBERED_SECONDS at most)."""
        last = [busy for busy, _, _ in islice(reversed(self._lately), seconds)]
        return sum(last) / len(last) if last else 0.0

    def missed_share(self, seconds: int) -> float:
        """Of the received frames, in the last seconds (REMEMBERED_SECONDS at most)."""
        last = list(islice(reversed(self._lately), seconds))
        received = sum(one[1] for one in last)
        return sum(one[2] for one in last) / received if received else 0.0

    def victim_rank(self, now: float) -> tuple[bool, bool, int, float, float]:
        """The ReplicaSet's order of deletion: unscheduled, unready, lowest deletion cost, ready for the shortest time
        (in logarithmic buckets), newest. Source: kubernetes pkg/controller/controller_utils.go, ActivePodsWithRanks."""
        age = 0.0 if self.ready_since is None else math.floor(math.log2(max(1.0, now - self.ready_since)))
        cost = -2000 if self.first else -1000 if self.marked is not None else 0
        return (self.scheduled is not None, self.ready_since is not None, cost, age, -self.created)
