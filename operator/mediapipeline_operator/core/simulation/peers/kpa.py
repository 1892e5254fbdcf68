"""Knative's pod autoscaler on sessions as concurrency.

Source: knative/serving pkg/autoscaler/scaling/autoscaler.go and config/core/configmaps/autoscaler.yaml: a stable window
of 60 s and a panic window of a tenth of it, panic at twice the ready pods, up at most 1000-fold, down at most to half,
ticks of 2 s on metrics that are scraped from the pods directly. It starts in panic mode with more than one pod.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from mediapipeline_operator.core.simulation.peers.law import Observed

TICK_SECONDS = 2


@dataclass
class Kpa:
    """`target` is the concurrency that one pod should have (70 % of its limit by default)."""

    target: float
    stable_seconds: float = 60.0
    panic_share: float = 0.1
    panic_threshold: float = 2.0
    most_up: float = 1000.0
    most_down: float = 2.0
    scale_down_delay_seconds: float = 0.0
    period_seconds: int = TICK_SECONDS
    panic_since: float | None = None
    _panic_most: int = 0
    _samples: deque[tuple[float, float]] = field(default_factory=deque)
    _delayed: deque[tuple[float, int]] = field(default_factory=deque)
    _begun: bool = False

    def desired(self, seen: Observed) -> int:
        """The number for both windows; while it panics it never goes down."""
        ready = max(1, seen.ready)
        self._begin(seen, ready)
        stable, panic = self._average(seen, self.stable_seconds), self._average(seen, self._panic_seconds)
        low, high = math.floor(ready / self.most_down), math.ceil(self.most_up * ready)
        wanted_stable = min(max(math.ceil(stable / self.target), low), high)
        wanted_panic = min(max(math.ceil(panic / self.target), low), high)
        self._move_panic(math.ceil(panic / self.target) / ready >= self.panic_threshold, seen.now)
        if self.panic_since is None:
            return self._delay(wanted_stable, seen.now)
        self._panic_most = max(self._panic_most, wanted_stable, wanted_panic)
        return self._delay(self._panic_most, seen.now)

    @property
    def _panic_seconds(self) -> float:
        return self.stable_seconds * self.panic_share

    def _begin(self, seen: Observed, ready: int) -> None:
        if not self._begun and ready > 1:
            self.panic_since, self._panic_most = seen.now, ready
        self._begun = True

    def _average(self, seen: Observed, seconds: float) -> float:
        if not self._samples or self._samples[-1][0] != seen.now:
            self._samples.append((seen.now, seen.pod_sessions))
        while self._samples[0][0] <= seen.now - self.stable_seconds:
            self._samples.popleft()
        inside = [value for time, value in self._samples if time > seen.now - seconds]
        return sum(inside) / len(inside)

    def _move_panic(self, over: bool, now: float) -> None:
        """Into panic over the threshold, which renews it; out after a whole stable window below."""
        if over:
            self.panic_since = now
        elif self.panic_since is not None and now - self.panic_since > self.stable_seconds:
            self.panic_since, self._panic_most = None, 0

    def _delay(self, wanted: int, now: float) -> int:
        """scale-down-delay: the largest number of that long."""
        self._delayed.append((now, wanted))
        while len(self._delayed) > 1 and self._delayed[0][0] <= now - self.scale_down_delay_seconds:
            self._delayed.popleft()
        return max(count for _, count in self._delayed)
