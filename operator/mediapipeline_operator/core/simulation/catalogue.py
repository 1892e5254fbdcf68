"""Laws by name, ready to run. The production law is always carried out by draining; the others either way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mediapipeline_operator.api.spec import Engine, MediaPipelineSpec, Mode, Policy
from mediapipeline_operator.core.simulation.controllers import DrainingController, OperatorController, PlainController
from mediapipeline_operator.core.simulation.peers.behavior import Behavior, Rules
from mediapipeline_operator.core.simulation.peers.behavior import Policy as RatePolicy
from mediapipeline_operator.core.simulation.peers.hpa import Hpa, Metric
from mediapipeline_operator.core.simulation.peers.keda import Fallback, Keda
from mediapipeline_operator.core.simulation.peers.kpa import Kpa
from mediapipeline_operator.core.simulation.peers.law import Law
from mediapipeline_operator.core.simulation.peers.llmd import SloAware
from mediapipeline_operator.core.simulation.peers.simple import BareThreshold, Static
from mediapipeline_operator.core.simulation.world import Controller

OURS_SLO, OURS_THRESHOLD = "ours SLO", "ours Threshold"
DRAINED = " + drain"
PLAIN_GRACE_SECONDS = 30.0  # what Kubernetes gives a pod that asks for nothing else
KEDA_FAILURES = 3


@dataclass(frozen=True)
class Contestant:
    """`make` builds a fresh controller; `drains` says whether sessions keep their pod until they end."""

    name: str
    make: Callable[[], Controller]
    drains: bool

    def grace_seconds(self, spec: MediaPipelineSpec) -> float:
        """The pods' termination grace: the product's, or Kubernetes' default where nothing of the product runs."""
        return float(spec.pod.termination_grace_period_seconds) if self.drains else PLAIN_GRACE_SECONDS


def contestants(spec: MediaPipelineSpec) -> dict[str, Contestant]:
    """All laws at their defaults for this spec. A draining peer is called `NAME + drain`."""
    found = {name: ours(name, spec, policy) for name, policy in OUR_POLICIES.items()}
    for name, make in peer_laws(spec).items():
        plain, drained = both(name, spec, make)
        found[name] = plain
        if not isinstance(make(), Static):
            found[drained.name] = drained
    return found


OUR_POLICIES: Mapping[str, Policy] = {OURS_SLO: Policy.SLO, OURS_THRESHOLD: Policy.THRESHOLD}


def ours(name: str, spec: MediaPipelineSpec, policy: Policy) -> Contestant:
    """The production law with another policy, always active."""
    scaling = spec.autoscaling.model_copy(update={"policy": policy, "engine": Engine.OPERATOR, "mode": Mode.ACTIVE})
    active = spec.model_copy(update={"autoscaling": scaling, "paused": False})
    return Contestant(name, lambda: OperatorController(active), drains=True)


def both(name: str, spec: MediaPipelineSpec, make: Callable[[], Law]) -> tuple[Contestant, Contestant]:
    """A peer with a plain Deployment, and with this operator carrying its numbers out."""
    plain = Contestant(name, lambda: PlainController(spec, make()), drains=False)
    return plain, Contestant(name + DRAINED, lambda: DrainingController(spec, make()), drains=True)


def peer_laws(spec: MediaPipelineSpec) -> dict[str, Callable[[], Law]]:
    """The peers at their defaults. Targets are the spec's own: its latency threshold, its utilisation of sessions."""
    latency, scaling = spec.autoscaling.latency, spec.autoscaling
    slo = latency.scale_up.above_milliseconds / 1000
    sessions = spec.sessions.max_per_replica * scaling.sessions.target_utilization_percent / 100
    fallback = Fallback(KEDA_FAILURES, scaling.max_replicas)
    rule = (
        slo,
        latency.scale_down.below_milliseconds / 1000,
        latency.scale_up.for_seconds,
        latency.scale_down.for_seconds,
    )
    return {
        "bare rule": lambda: BareThreshold(*rule),
        "HPA p95": lambda: Hpa((Metric("p95", slo),)),
        "HPA sessions": lambda: Hpa((Metric("sessions", sessions, average=True),)),
        "KEDA default": lambda: Keda(Metric("p95", slo, average=True)),
        "KEDA Value": lambda: Keda(Metric("p95", slo), ignore_null=False, fallback=fallback),
        "KPA sessions": lambda: Kpa(sessions),
        "llm-d SLO": lambda: SloAware(slo),
        "static min": lambda: Static(scaling.min_replicas),
        "static max": lambda: Static(scaling.max_replicas),
    }


def tunings(spec: MediaPipelineSpec) -> dict[str, list[Contestant]]:
    """Eight settings for each law that has some: the same budget for all, ours included."""
    capacity = spec.sessions.max_per_replica
    shares = (0.6, 0.7, 0.8, 0.9)
    found = {"ours SLO": [_our_setting(spec, share, buffer) for share in shares for buffer in (0, 4)]}
    peers: dict[str, list[Callable[[], Law]]] = {
        "HPA p95": [_hpa("p95", ms / 1000, window, False) for ms in (25, 40, 60, 100) for window in (120, 300)],
        "HPA sessions": [_hpa("sessions", capacity * s, window, True) for s in shares for window in (120, 300)],
        "KEDA Value": [_keda(ms / 1000, window, spec) for ms in (25, 40, 60, 100) for window in (120, 300)],
        "KPA sessions": [_kpa(capacity * s, delay) for s in shares for delay in (0, 300)],
        "llm-d SLO": [_llmd(ms / 1000, upper) for ms in (40, 60, 80, 100) for upper in (0.45, 0.55)],
    }
    for name, laws in peers.items():
        found[name + DRAINED] = [both(name, spec, law)[1] for law in laws]
    return found


def _our_setting(spec: MediaPipelineSpec, share: float, buffer: int) -> Contestant:
    targets = spec.autoscaling.sessions.model_copy(
        update={"target_utilization_percent": round(100 * share), "buffer": buffer}
    )
    scaling = spec.autoscaling.model_copy(update={"sessions": targets})
    return ours(f"target {share:.0%}, buffer {buffer}", spec.model_copy(update={"autoscaling": scaling}), Policy.SLO)


def _behavior(window: int) -> Behavior:
    return Behavior(down=Rules(window, (RatePolicy(100, 15, percent=True),)))


def _hpa(metric: str, target: float, window: int, average: bool) -> Callable[[], Law]:
    return lambda: Hpa((Metric(metric, target, average),), behavior=_behavior(window))


def _keda(target: float, window: int, spec: MediaPipelineSpec) -> Callable[[], Law]:
    fallback = Fallback(KEDA_FAILURES, spec.autoscaling.max_replicas)
    return lambda: Keda(Metric("p95", target), ignore_null=False, fallback=fallback, behavior=_behavior(window))


def _kpa(target: float, delay: int) -> Callable[[], Law]:
    return lambda: Kpa(target, scale_down_delay_seconds=delay)


def _llmd(slo: float, upper: float) -> Callable[[], Law]:
    return lambda: SloAware(slo, upper=upper, lower=upper - 0.15)
