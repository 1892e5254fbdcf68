"""llm-d's SLO-aware autoscaling with KEDA: latency over SLO, clamped, averaged; a dead band, credit for starting pods.

Source: llm-d/llm-d guides/workload-autoscaling/README.slo-aware.md: s = mean over 45 s of min(latency / SLO, 2);
up to n + ceil(n (s c / 0.55 - 1)) with c = ready / provisioned, down to n - floor(n (1 - s / 0.40)); the HPA lets it up
by 100 % or 4 pods a minute after 30 s, down by one pod in 120 s after 180 s. No data counts as 0, as there.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from mediapipeline_operator.core.simulation.peers.behavior import Behavior, Policy, Rules
from mediapipeline_operator.core.simulation.peers.hpa import SYNC_SECONDS
from mediapipeline_operator.core.simulation.peers.law import Observed

UP = Rules(30, (Policy(100, 60, percent=True), Policy(4, 60, percent=False)))
DOWN = Rules(180, (Policy(1, 120, percent=False),))


@dataclass
class SloAware:
    """`slo_seconds` is the objective of the latency."""

    slo_seconds: float
    upper: float = 0.55
    lower: float = 0.40
    clamp: float = 2.0
    average_seconds: float = 45.0
    behavior: Behavior = field(default_factory=lambda: Behavior(UP, DOWN))
    period_seconds: int = SYNC_SECONDS
    _signal: deque[tuple[float, float]] = field(default_factory=deque)

    def desired(self, seen: Observed) -> int:
        """A failed query is an error, and the HPA holds."""
        if seen.failed:
            return seen.replicas
        s = self._average(seen)
        credit = seen.ready / seen.replicas if seen.replicas else 1.0
        n = seen.replicas
        wanted = n
        if s * credit > self.upper:
            wanted = n + math.ceil(n * (s * credit / self.upper - 1))
        elif s < self.lower:
            wanted = n - math.floor(n * (1 - s / self.lower))
        return self.behavior.apply(n, wanted, seen.now)

    def _average(self, seen: Observed) -> float:
        value = seen.value("p95")
        self._signal.append((seen.now, 0.0 if value is None else min(value / self.slo_seconds, self.clamp)))
        while self._signal[0][0] <= seen.now - self.average_seconds:
            self._signal.popleft()
        return sum(value for _, value in self._signal) / len(self._signal)
