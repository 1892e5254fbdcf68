"""KEDA's Prometheus trigger on top of the HPA that it creates.

Source: kedacore/keda pkg/scalers/prometheus_scaler.go (ignoreNullValues), pkg/fallback/fallback.go, and the reference
of the prometheus scaler: metricType AverageValue and ignoreNullValues true are the defaults, and then nothing, NaN and
infinity are 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mediapipeline_operator.core.simulation.peers.behavior import Behavior
from mediapipeline_operator.core.simulation.peers.hpa import SYNC_SECONDS, Metric, proposal
from mediapipeline_operator.core.simulation.peers.law import Observed


@dataclass(frozen=True, slots=True)
class Fallback:
    """After more than `failures` failures in a row: at least `replicas` (behavior currentReplicasIfHigher)."""

    failures: int
    replicas: int


@dataclass
class Keda:
    """One Prometheus trigger."""

    metric: Metric
    ignore_null: bool = True
    fallback: Fallback | None = None
    behavior: Behavior = field(default_factory=Behavior)
    period_seconds: int = SYNC_SECONDS
    _failures: int = 0

    def desired(self, seen: Observed) -> int:
        """A failed query is an error for the HPA, which then holds; an empty answer is 0 or an error, as configured."""
        value = self._value(seen)
        if value is None:
            self._failures += 1
            return self._fall_back(seen)
        self._failures = 0
        wanted = proposal(self.metric, value, seen.replicas, seen.ready)
        return self.behavior.apply(seen.replicas, wanted, seen.now)

    def _value(self, seen: Observed) -> float | None:
        if seen.failed:
            return None
        raw = seen.p95_seconds if self.metric.name == "p95" else seen.sessions
        if raw is None or not math.isfinite(raw):
            return 0.0 if self.ignore_null else None
        return raw

    def _fall_back(self, seen: Observed) -> int:
        if self.fallback is None or self._failures <= self.fallback.failures:
            return seen.replicas
        return self.behavior.apply(seen.replicas, max(seen.replicas, self.fallback.replicas), seen.now)
