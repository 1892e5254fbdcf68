"""What the benchmark runs: loads and faults, in a sticky and in a stateless world."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.simulation.catalogue import Contestant
from mediapipeline_operator.core.simulation.cluster import ClusterModel
from mediapipeline_operator.core.simulation.device import Arrivals
from mediapipeline_operator.core.simulation.faults import Fault, FaultKind
from mediapipeline_operator.core.simulation.loads import SHAPES, Load, load_of
from mediapipeline_operator.core.simulation.world import Surroundings

# 8 sessions of 25.8 frames a second at 5 ms a frame use 103 % of a device: admission promises a little too much, as it
# does where nobody has measured. 10 replicas carry the peak of 48 sessions at 60 % of what they admit.
SPEC = MediaPipelineSpec.model_validate(
    {
        "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
        "sessions": {"maxPerReplica": 8},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 10},
    }
)
PEAK_SESSIONS = 48.0
PEAK = 1200.0  # all faults begin in the step's plateau, 9 minutes after it was reached


@dataclass(frozen=True)
class Scenario:
    """A load by the name of its shape, with what goes wrong."""

    name: str
    shape: str
    faults: tuple[Fault, ...] = ()
    hot_pod_slowdown: float = 1.0


def _fault(name: str, kind: FaultKind, minutes: float, start: float = PEAK) -> Scenario:
    return Scenario(name, "step", (Fault(kind, start, start + 60 * minutes),))


LOADS = (
    *(Scenario(name, name) for name in SHAPES if name != "constant"),
    Scenario("one hot pod", "constant", hot_pod_slowdown=1.8),
)
FAULTS = (
    _fault("Prometheus down 1 min", FaultKind.PROMETHEUS_DOWN, 1),
    _fault("Prometheus down 5 min", FaultKind.PROMETHEUS_DOWN, 5),
    _fault("Prometheus down 15 min", FaultKind.PROMETHEUS_DOWN, 15),
    _fault("no series 10 min", FaultKind.EMPTY, 10),
    _fault("NaN 10 min", FaultKind.NAN, 10),
    _fault("scrapes stop 10 min", FaultKind.STALE, 10),
    _fault("half the targets 10 min", FaultKind.HALF_TARGETS, 10),
    _fault("pods Pending 10 min", FaultKind.PODS_PENDING, 10, start=600.0),
    _fault("rollout in a breach", FaultKind.ROLLOUT, 0, start=700.0),
)
WORLDS = {
    "sticky": Surroundings(),
    # Requests, any pod: random arrivals have long waits well below saturation, so latency tells something there.
    "stateless": Surroundings(sticky=False, arrivals=Arrivals.POISSON, service_seconds=0.004),
}


def load(scenario: Scenario, seed: int) -> Load:
    """The same visits for every law."""
    return load_of(scenario.shape, SHAPES[scenario.shape], PEAK_SESSIONS, random.Random(seed))


def surroundings(world: str, scenario: Scenario, contestant: Contestant) -> Surroundings:
    """The world of one run; the grace period belongs to how a law is carried out."""
    cluster = ClusterModel(grace_seconds=contestant.grace_seconds(SPEC), hot_pod_slowdown=scenario.hot_pod_slowdown)
    return replace(WORLDS[world], cluster=cluster, faults=scenario.faults)
