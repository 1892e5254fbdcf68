"""Several laws under the same load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mediapipeline_operator.api.spec import MediaPipelineSpec, Policy
from mediapipeline_operator.core.simulation.bound import Bound, check, clairvoyant
from mediapipeline_operator.core.simulation.catalogue import OURS_SLO, OURS_THRESHOLD, contestants
from mediapipeline_operator.core.simulation.loads import MEAN_FRAME_RATE, Load
from mediapipeline_operator.core.simulation.randomness import Randomness
from mediapipeline_operator.core.simulation.score import Score
from mediapipeline_operator.core.simulation.world import Surroundings, World

# What people type, and the law that it means.
SHORT_NAMES = {
    "hpa": "HPA p95",
    "hpa-sessions": "HPA sessions",
    "keda": "KEDA default",
    "keda-value": "KEDA Value",
    "kpa": "KPA sessions",
    "llm-d": "llm-d SLO",
    "rule": "bare rule",
    "min": "static min",
    "max": "static max",
}
FULL_SHARE = 0.9  # of the device, when a replica holds as many sessions as it admits


@dataclass(frozen=True)
class Comparison:
    """The same load under several laws, ours first, and the bound that none of them can beat."""

    scores: Mapping[str, Score]
    bound: Bound


def compare(
    spec: MediaPipelineSpec,
    load: Load,
    around: Surroundings,
    names: Sequence[str],
    chance: Callable[[], Randomness],
) -> Comparison:
    """Runs our law with the spec's policy and the peers `names` (of SHORT_NAMES). `chance` is called once for each.

    A peer runs on a plain Deployment with Kubernetes' own grace period; with "+drain" after its name this operator
    carries its numbers out. Raises KeyError for an unknown name.
    """
    known = contestants(spec)
    ours = OURS_SLO if spec.autoscaling.policy is Policy.SLO else OURS_THRESHOLD
    bound, scores = clairvoyant(spec, load, around), {}
    for name in (ours, *(full_name(name) for name in names)):
        contestant = known[name]
        cluster = replace(around.cluster, grace_seconds=contestant.grace_seconds(spec))
        surroundings = replace(around, cluster=cluster)
        score = World(spec, load, surroundings, contestant.make(), chance()).run()
        check(bound, score, surroundings)
        scores[name] = score
    return Comparison(scores, bound)


def full_name(name: str) -> str:
    """ "kpa+drain" -> "KPA sessions + drain". Raises KeyError for an unknown name."""
    short, plus, how = name.strip().lower().partition("+")
    if plus and how != "drain":
        raise KeyError(name)
    return SHORT_NAMES[short] + (" + drain" if plus else "")


def usual_service_seconds(spec: MediaPipelineSpec) -> float:
    """The simulated device's time for a frame, else one with which a full replica uses 90 % of its device."""
    simulation = spec.compute.simulation
    if simulation is not None:
        return simulation.service_time_milliseconds / 1000
    return FULL_SHARE / (spec.sessions.max_per_replica * MEAN_FRAME_RATE)
