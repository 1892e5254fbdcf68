"""HorizontalPodAutoscaler v2 on external or object metrics.

Source: kubernetes pkg/controller/podautoscaler/replica_calculator.go (getUsageRatioReplicaCount,
GetExternalMetricReplicas, GetExternalPerPodMetricReplicas) and horizontal.go; sync period 15 s, tolerance 0.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mediapipeline_operator.core.simulation.peers.behavior import Behavior
from mediapipeline_operator.core.simulation.peers.law import Observed

SYNC_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: `Value` compares it as it is, `AverageValue` (`average`) divides it by the replicas."""

    name: str
    target: float
    average: bool = False


def proposal(metric: Metric, value: float, replicas: int, ready: int, tolerance: float = 0.1) -> int:
    """desired = ceil(current x ratio) from the ready pods (Value), or ceil(total / target) (AverageValue)."""
    if metric.average:
        ratio = value / (metric.target * replicas) if replicas else math.inf
        return replicas if abs(1 - ratio) <= tolerance else math.ceil(value / metric.target - 1e-9)
    ratio = value / metric.target
    return replicas if abs(1 - ratio) <= tolerance else math.ceil(ratio * ready - 1e-9)


def combine(proposals: list[int | None], replicas: int) -> int | None:
    """The largest. With a metric missing, the rest may only raise; with all of them missing nothing happens (None)."""
    known = [count for count in proposals if count is not None]
    if not known or (len(known) < len(proposals) and max(known) < replicas):
        return None
    return max(known)


@dataclass
class Hpa:
    """The controller's loop over its metrics, then `behavior`."""

    metrics: tuple[Metric, ...]
    tolerance: float = 0.1
    behavior: Behavior = field(default_factory=Behavior)
    period_seconds: int = SYNC_SECONDS

    def desired(self, seen: Observed) -> int:
        """Missing metrics leave the number as it is."""
        found = combine([self._one(metric, seen) for metric in self.metrics], seen.replicas)
        return seen.replicas if found is None else self.behavior.apply(seen.replicas, found, seen.now)

    def _one(self, metric: Metric, seen: Observed) -> int | None:
        value = seen.value(metric.name)
        return None if value is None else proposal(metric, value, seen.replicas, seen.ready, self.tolerance)
