"""The facts of one tick in the form in which the rules ask for them. Derived, never decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from statistics import median_low

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.derived import derived
from mediapipeline_operator.core.scaling.model import PodFacts, PodSignals, Signals, WorkloadFacts
from mediapipeline_operator.core.scaling.state import ScalingState

MISS_LIMIT = 0.05  # p95 above a bound <=> more than 5 % of the received frames are later than it
USUAL_STARTUP_SECONDS = 60.0  # assumed until a replica has been seen to start
LONGEST_USUAL_STARTUP_SECONDS = 300.0  # readiness regained after an un-drain is no start-up
NO_SIGNALS = PodSignals()


def exceeds(miss: float | None, limit: float) -> bool:
    """miss > limit, where 1 - 95/100 (0.05000000000000004 in floating point) does not exceed 0.05."""
    return miss is not None and miss > limit + 1e-9


@dataclass(frozen=True)
class Situation:
    """One tick's input with what follows from it. "Serving" pods are live and take new sessions or soon will."""

    spec: MediaPipelineSpec
    workload: WorkloadFacts
    signals: Signals
    before: ScalingState
    now: datetime
    tick_seconds: float

    @derived
    def live(self) -> tuple[PodFacts, ...]:
        return tuple(pod for pod in self.workload.pods if not pod.terminating)

    @derived
    def surplus(self) -> int:
        """Pods that the ReplicaSet has yet to delete after replicas were lowered; a rollout's surge is none."""
        return 0 if self.workload.rollout_in_progress else max(0, len(self.live) - self.workload.replicas)

    @derived
    def marked(self) -> tuple[PodFacts, ...]:
        return tuple(pod for pod in self.live if pod.draining)

    @derived
    def draining_count(self) -> int:
        """Marked pods that are still part of the Deployment's number."""
        return max(0, len(self.marked) - self.surplus)

    @derived
    def n(self) -> int:
        """Serving replicas: the Deployment's number without the draining ones. Starting ones count."""
        return max(0, self.workload.replicas - self.draining_count)

    @derived
    def unmarked(self) -> tuple[PodFacts, ...]:
        return tuple(pod for pod in self.live if not pod.draining)

    @derived
    def serving(self) -> tuple[PodFacts, ...]:
        return tuple(pod for pod in self.unmarked if pod.ready)

    @derived
    def usual_startup_seconds(self) -> float:
        """From a pod's creation to its readiness, the lower median of the serving pods, bounded."""
        taken = [(pod.ready_since - pod.created).total_seconds() for pod in self.serving if pod.ready_since]
        usual = median_low(taken) if taken else USUAL_STARTUP_SECONDS
        return min(max(usual, 1.0), LONGEST_USUAL_STARTUP_SECONDS)

    @derived
    def starting(self) -> tuple[PodFacts, ...]:
        """Pods on their way to readiness. One that takes over 1.5 times the usual is stuck and no longer counts."""
        patience = 1.5 * self.usual_startup_seconds
        return tuple(
            pod for pod in self.unmarked if not pod.ready and (self.now - pod.created).total_seconds() < patience
        )

    @derived
    def uncreated(self) -> int:
        """Replicas that were asked for a moment ago and have no pod yet."""
        return max(0, self.workload.replicas - len(self.live))

    @property
    def step_pending(self) -> bool:
        """Replicas of the last step are on their way; a second step would answer the same load twice."""
        return bool(self.starting or self.uncreated)

    def of(self, pod: PodFacts) -> PodSignals:
        return self.signals.pods.get(pod.name, NO_SIGNALS)

    @property
    def interval_seconds(self) -> int:
        return self.spec.monitoring.interval_seconds

    @property
    def age_limit_seconds(self) -> float:
        """Two scrapes; never less than one scrape and five seconds, since a scrape and an evaluation take time too."""
        return max(2.0 * self.interval_seconds, self.interval_seconds + 5.0)

    @derived
    def settled(self) -> tuple[PodFacts, ...]:
        """Serving pods that Prometheus must have scraped by now."""
        return tuple(pod for pod in self.serving if self._ready_for_seconds(pod) >= 2 * self.interval_seconds)

    def _ready_for_seconds(self, pod: PodFacts) -> float:
        return (self.now - pod.ready_since).total_seconds() if pod.ready_since else 0.0

    @derived
    def reporting(self) -> tuple[PodFacts, ...]:
        """Settled pods with a fresh sample."""
        return tuple(pod for pod in self.settled if self.is_fresh(pod))

    def is_fresh(self, pod: PodFacts) -> bool:
        age = self.of(pod).age_seconds
        return age is not None and age + self.overdue_seconds <= self.age_limit_seconds

    @derived
    def overdue_seconds(self) -> float:
        """How much later than usual the next batch is. A batch serves all passes until the next tick, and no longer."""
        if self.signals.taken is None:
            return 0.0
        return max(0.0, (self.now - self.signals.taken).total_seconds() - 1.5 * self.tick_seconds)

    @derived
    def ages_seconds(self) -> tuple[float, ...]:
        ages = (self.of(pod).age_seconds for pod in self.settled)
        return tuple(age + self.overdue_seconds for age in ages if age is not None)

    def sessions_on(self, pod: PodFacts) -> int | None:
        """Active and pending sessions, by the pod's own answer where there is one, else by Prometheus."""
        if pod.sessions is not None:
            return pod.sessions
        seen = self.of(pod)
        return None if seen.sessions is None else math.ceil(seen.sessions + (seen.pending or 0.0))

    @property
    def received_per_second(self) -> float:
        return self.signals.received_per_second or 0.0

    @derived
    def requests_per_second(self) -> float:
        """HTTP requests of the fleet; those of probes and scrapes are not counted by the pods."""
        return sum(self.of(pod).requests_per_second or 0.0 for pod in self.live)

    @derived
    def frames_in_window(self) -> float:
        return self.received_per_second * self.signals.window_seconds

    def miss(self, milliseconds: int) -> float | None:
        """Share of the received frames that did not come back processed within `milliseconds`; None without frames.

        miss(t) = 1 - rate(frame_age_bucket{le=t}) / rate(frames_received). A dropped frame is later than any threshold.
        """
        on_time = self.signals.ok_per_second.get(milliseconds / 1000.0)
        if self.received_per_second <= 0 or on_time is None:
            return None
        return min(1.0, max(0.0, 1.0 - on_time / self.received_per_second))

    @derived
    def miss_upper(self) -> float | None:
        return self.miss(self.spec.autoscaling.latency.scale_up.above_milliseconds)

    @derived
    def miss_lower(self) -> float | None:
        return self.miss(self.spec.autoscaling.latency.scale_down.below_milliseconds)

    def pod_miss(self, pod: PodFacts) -> float | None:
        """The same for one pod at the upper threshold."""
        seen = self.of(pod)
        if not seen.received_per_second or seen.on_time_per_second is None:
            return None
        return min(1.0, max(0.0, 1.0 - seen.on_time_per_second / seen.received_per_second))

    @derived
    def worst_pod_miss(self) -> float | None:
        return max((miss for pod in self.live if (miss := self.pod_miss(pod)) is not None), default=None)

    @derived
    def queried_milliseconds(self) -> float | None:
        """What the pipeline's own query gives; None with another source, or without samples."""
        seconds = self.signals.latency_seconds
        return None if seconds is None else 1000.0 * seconds

    @derived
    def p95_milliseconds(self) -> int | None:
        """The smallest bucket bound with miss <= 5 %, or what the query gives; None without samples or above the top
        bucket.
        """
        if self.queried_milliseconds is not None:
            return round(self.queried_milliseconds)
        received, on_time = self.received_per_second, self.signals.ok_per_second
        if received <= 0:
            return None
        within = (bound for bound in sorted(on_time) if not exceeds(1.0 - on_time[bound] / received, MISS_LIMIT))
        bound = next(within, math.inf)
        return round(bound * 1000) if math.isfinite(bound) else None
