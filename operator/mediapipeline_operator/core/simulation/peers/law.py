"""The interface of a peer's law: what it sees, and the number that it wants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling.queries import window_seconds
from mediapipeline_operator.core.simulation.faults import FaultKind, is_active
from mediapipeline_operator.core.simulation.world import Scene


@dataclass(frozen=True, slots=True)
class Observed:
    """What a peer's data path delivers. `p95_seconds` counts missed frames; NaN: no frames; None: no series.

    `failed`: the query itself failed. `pod_sessions` are read from the pods themselves, not from Prometheus, by the one
    law that does so.
    """

    now: float
    replicas: int
    ready: int
    p95_seconds: float | None
    sessions: float | None
    failed: bool = False
    pod_sessions: float = 0.0

    def value(self, metric: str) -> float | None:
        """A metric by its name; None if there is no usable number (NaN included)."""
        found = {"p95": self.p95_seconds, "sessions": self.sessions}[metric]
        return None if self.failed or found is None or not math.isfinite(found) else found


class Law(Protocol):
    """Asked every `period_seconds`; clamping to minReplicas and maxReplicas is the caller's."""

    @property
    def period_seconds(self) -> int: ...

    def desired(self, seen: Observed) -> int: ...


def observe(spec: MediaPipelineSpec, scene: Scene, now: float, replicas: int) -> Observed:
    """One observation, through the faults of the metric pipeline."""
    prometheus, cluster = scene.prometheus, scene.cluster
    faults = prometheus.scraper.faults
    ready = [pod for pod in cluster.pods if pod.ready_since is not None]
    direct = float(sum(len(pod.sessions) for pod in ready))
    if is_active(faults, FaultKind.PROMETHEUS_DOWN, now):
        return Observed(now, replicas, len(ready), None, None, failed=True, pod_sessions=direct)
    if is_active(faults, FaultKind.EMPTY, now):
        return Observed(now, replicas, len(ready), None, None, pod_sessions=direct)
    if is_active(faults, FaultKind.NAN, now):
        return Observed(now, replicas, len(ready), math.nan, math.nan, pod_sessions=direct)
    p95 = prometheus.p95_seconds(now, window_seconds(spec))
    return Observed(now, replicas, len(ready), p95, prometheus.total_sessions(now), pod_sessions=direct)
