"""Nothing is made and nothing lost in the model, whatever load, law and faults; and nobody beats the bound."""

import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.simulation.bound import BeatenBoundError, check, clairvoyant, demand_of
from mediapipeline_operator.core.simulation.catalogue import contestants
from mediapipeline_operator.core.simulation.cluster import ClusterModel
from mediapipeline_operator.core.simulation.faults import Fault, FaultKind
from mediapipeline_operator.core.simulation.loads import Lengths, Shape, load_of, piecewise
from mediapipeline_operator.core.simulation.score import Score
from mediapipeline_operator.core.simulation.world import Surroundings, World

SPEC = MediaPipelineSpec.model_validate(
    {
        "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
        "sessions": {"maxPerReplica": 8},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 6},
    }
)
SECONDS = 420
FAULT = (140.0, 280.0)
LOOK_EVERY = 5  # a session that is lost stays lost: every fifth second finds it too
LAWS = sorted(contestants(SPEC))


def world_of(law, seed, levels, kind=None, *, sticky=True, grace=30.0):
    points = tuple((index * SECONDS / len(levels), level) for index, level in enumerate(levels))
    load = load_of("random", Shape(SECONDS, piecewise(*points), Lengths(120.0)), 1.0, random.Random(seed))
    faults = () if kind is None else (Fault(kind, *FAULT),)
    around = Surroundings(sticky=sticky, faults=faults, cluster=ClusterModel(grace_seconds=grace))
    return World(SPEC, load, around, contestants(SPEC)[law].make(), random.Random(seed + 1))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    law=st.sampled_from(LAWS),
    seed=st.integers(0, 1000),
    levels=st.lists(st.integers(0, 50), min_size=1, max_size=5),
    kind=st.none() | st.sampled_from(list(FaultKind)),
    sticky=st.booleans(),
)
def test_sessions_and_frames_are_conserved_and_the_bound_holds(law, seed, levels, kind, sticky):
    world = world_of(law, seed, levels, kind, sticky=sticky)
    demand, _ = demand_of(world.load)
    for second in range(SECONDS):
        world.step(second)
        if second % LOOK_EVERY:
            continue
        people, pods = world.audience, world.cluster.pods
        placed = [visit for pod in pods for visit in pod.sessions]
        assert len(placed) == len(set(placed)) == people.demand - people.absent
        assert people.demand == demand[second]
        assert all(len(pod.sessions) <= 8 for pod in pods)
        rates = {pod.name: sum(world.load.visits[v].frames_per_second for v in pod.sessions) for pod in pods}
        assert rates == {pod.name: pod.frames_per_second for pod in pods}
    score = world.score
    assert 0 <= score.missed <= score.received
    assert score.demand_seconds == sum(demand)
    check(clairvoyant(SPEC, world.load, world.surroundings), score, world.surroundings)


@pytest.mark.parametrize("law", ["ours SLO", "KPA sessions + drain"])
def test_the_same_seed_gives_the_same_run(law):
    first, second = (world_of(law, 5, [10, 40, 5]).run() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("law", ["ours SLO", "ours Threshold", "HPA p95 + drain", "KPA sessions + drain"])
def test_draining_kills_nobody(law):
    assert world_of(law, 3, [40, 40, 2, 2, 40]).run().killed == 0


def test_a_plain_deployment_does_kill():
    """The control: the same law without draining. If this is 0, the one above says nothing."""
    world = world_of("KPA sessions", 3, [40, 40, 2, 2, 40], grace=5.0)
    assert world.run().killed > 0


@pytest.mark.parametrize("kind", [FaultKind.PROMETHEUS_DOWN, FaultKind.EMPTY, FaultKind.NAN, FaultKind.STALE])
@pytest.mark.parametrize("policy", ["ours SLO", "ours Threshold"])
def test_ours_never_goes_down_blind(policy, kind):
    score = world_of(policy, 7, [40, 2, 2], kind).run()
    assert score.blind_downs == 0


def test_a_run_that_is_too_cheap_is_found():
    world = world_of("static max", 1, [30])
    bound = clairvoyant(SPEC, world.load, world.surroundings)
    score = world.run()
    check(bound, score, world.surroundings)
    with pytest.raises(BeatenBoundError):
        check(bound, Score(received=1.0, demand_seconds=1.0, pod_seconds=SECONDS * 1.5), world.surroundings)
