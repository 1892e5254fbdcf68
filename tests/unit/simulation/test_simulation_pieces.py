"""The pieces of the modelled world, each against what the real thing is documented to do."""

import math
import random
from itertools import pairwise

import pytest

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling import DataState, ProblemKind
from mediapipeline_operator.core.scaling.queries import Measure, batch
from mediapipeline_operator.core.simulation.answers import ModelledPrometheus, quantile
from mediapipeline_operator.core.simulation.audience import Audience, Placement
from mediapipeline_operator.core.simulation.cluster import Cluster, ClusterModel
from mediapipeline_operator.core.simulation.controllers import OperatorController, measured
from mediapipeline_operator.core.simulation.device import Arrivals, Device
from mediapipeline_operator.core.simulation.faults import Fault, FaultKind
from mediapipeline_operator.core.simulation.loads import SHAPES, Lengths, Load, Shape, Visit, load_of, piecewise
from mediapipeline_operator.core.simulation.pods import SimPod
from mediapipeline_operator.core.simulation.score import Direction, Score
from mediapipeline_operator.core.simulation.scrapes import NO_FRAMES, Scrape, Scraper, Series, rates
from mediapipeline_operator.core.simulation.world import Scene, Surroundings, World

SPEC = MediaPipelineSpec.model_validate(
    {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}, "sessions": {"maxPerReplica": 8}}
)


def scrape(time, received=0.0):
    return Scrape(time, 1.0, False, received, 0.0, 0.0, NO_FRAMES)


def test_a_rate_over_regular_samples_is_the_slope():
    samples = [scrape(float(t), 30.0 * t) for t in (101, 106, 111, 116)]
    assert rates(samples, [(30.0 * 101, 30.0 * 116)], 120.0, 20.0)[0] == pytest.approx(30.0)


def test_a_rate_is_not_extrapolated_below_zero():
    """A counter that begins within the window: Prometheus goes back to its zero and no further."""
    samples = [scrape(112.0, 0.0), scrape(117.0, 150.0)]
    assert rates(samples, [(0.0, 150.0)], 120.0, 20.0)[0] == pytest.approx(150 * 8 / 5 / 20)


def test_a_rate_with_a_gap_goes_half_an_interval_towards_it():
    samples = [scrape(111.0, 0.0), scrape(116.0, 100.0)]
    assert rates(samples, [(1000.0, 1100.0)], 120.0, 20.0)[0] == pytest.approx(100 * (5 + 2.5 + 4) / 5 / 20)


def test_quantile_saturates_interpolates_and_knows_nothing_of_nothing():
    def below(bound, share):
        return [share if edge < bound else 1.0 for edge in LATENCY_BUCKETS_SECONDS]

    assert math.isnan(quantile(0.95, 0.0, [0.0] * len(LATENCY_BUCKETS_SECONDS)))
    assert quantile(0.95, 1.0, [0.5] * len(LATENCY_BUCKETS_SECONDS)) == LATENCY_BUCKETS_SECONDS[-1]
    assert quantile(0.95, 1.0, below(0.1, 0.9)) == pytest.approx(0.09)


@pytest.mark.parametrize("arrivals", list(Arrivals))
def test_the_latency_curve_never_rises_with_load_and_ends_in_drops(arrivals):
    device = Device(0.005, arrivals=arrivals)
    rows = [device.on_time(step) for step in range(1, 120)]
    for row in rows:
        assert list(row) == sorted(row)
    within = [row[LATENCY_BUCKETS_SECONDS.index(0.1)] for row in rows]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(within))
    assert device.missed(100) == pytest.approx(0.5, abs=0.01)  # at twice its capacity it serves half


def test_periodic_frames_are_flat_up_to_saturation():
    device = Device(0.005)
    p95 = [device.on_time(step)[LATENCY_BUCKETS_SECONDS.index(0.05)] for step in (10, 25, 45)]
    assert min(p95) > 0.99


def test_the_replicaset_takes_unready_then_cheap_then_young_pods():
    cluster = Cluster(ClusterModel(), random.Random(1), 4)
    cluster.advance(0.0)
    first, second, third, fourth = cluster.pods
    second.marked = 0.0  # deletion cost -1000
    third.draining = True  # unready
    fourth.ready_since = -10.0
    third.settle(0.0)
    assert sorted(cluster.pods, key=lambda pod: pod.victim_rank(0.0)) == [third, second, fourth, first]


def test_a_deleted_pod_keeps_its_sessions_for_the_grace_period():
    gone = []
    cluster = Cluster(ClusterModel(grace_seconds=30.0), random.Random(1), 2, on_gone=gone.append)
    for pod in cluster.pods:
        pod.sessions.add(pod.number)
    cluster.replicas = 1
    for second in range(31):
        cluster.advance(float(second))
    assert len(gone) == 1
    assert gone[0].deleted == 0.0


def test_pods_find_no_node_while_none_is_free():
    fault = Fault(FaultKind.PODS_PENDING, 0.0, 600.0)
    cluster = Cluster(ClusterModel(slowest_startup_seconds=60.0), random.Random(1), 1, (fault,))
    cluster.replicas = 2
    ready = {}
    for second in range(700):
        cluster.advance(float(second))
        ready[second] = sum(pod.ready_since is not None for pod in cluster.pods)
    assert ready[599] == 1
    assert ready[699] == 2


def test_a_rollout_replaces_every_pod_and_never_has_fewer_ready():
    cluster = Cluster(ClusterModel(), random.Random(1), 3, (Fault(FaultKind.ROLLOUT, 5.0, 5.0),))
    fewest = 3
    for second in range(1500):
        cluster.advance(float(second))
        fewest = min(fewest, sum(pod.ready_since is not None for pod in cluster.pods))
    assert fewest == 3
    assert {pod.revision for pod in cluster.pods} == {1}
    assert cluster.rollout_since is None


def scraper_with(faults=(), pods=2):
    device = Device(0.005)
    scraper = Scraper(device, 5.0, tuple(faults))
    made = [SimPod(f"pod-{i}", i, -600.0, 60.0, 1.0 * i, scheduled=-600.0) for i in range(1, pods + 1)]
    for second in range(60):
        for pod in made:
            pod.sessions, pod.frames_per_second = {1, 2}, 60
            pod.work(device)
        scraper.scrape(made, float(second))
    return scraper, made


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (FaultKind.PROMETHEUS_DOWN, DataState.MISSING),
        (FaultKind.EMPTY, DataState.MISSING),
        (FaultKind.NAN, DataState.MISSING),
        (FaultKind.STALE, DataState.STALE),
        (FaultKind.HALF_TARGETS, DataState.PARTIAL),
        (FaultKind.LATE_SCRAPES, DataState.FRESH),
    ],
)
def test_each_fault_reaches_the_production_data_state_that_it_should(kind, state):
    load = load_of("constant", SHAPES["constant"], 48.0, random.Random(1))
    fault = Fault(kind, 300.0, 600.0)
    controller = OperatorController(SPEC)
    world = World(SPEC, load, Surroundings(faults=(fault,)), controller, random.Random(2))
    for second in range(361):
        world.step(second)
    assert controller.data_state is state


def test_the_model_answers_every_measure_of_the_production_batch_with_frames():
    scraper, _ = scraper_with()
    prometheus = ModelledPrometheus(scraper, 8, 0.1)
    queries = [query for query in batch([SPEC]) if query.measure in Measure]
    answers = prometheus.answer(queries, 59.0)
    for measure in (Measure.UP, Measure.AGE, Measure.GAUGES, Measure.FLEET_FRAMES, Measure.POD_FRAMES, Measure.BUSY):
        assert all(found for query, found in answers.items() if query.measure is measure)
    received = prometheus.fleet_frames(59.0, 20.0)[0]
    assert received == pytest.approx(120.0)


def test_a_failed_query_is_a_problem_and_no_zero():
    scraper, _ = scraper_with([Fault(FaultKind.PROMETHEUS_DOWN, 0.0, 100.0)])
    scene = Scene(Cluster(ClusterModel(), random.Random(1), 2), ModelledPrometheus(scraper, 8, 0.1))
    assert measured(SPEC, scene, 59.0).problem.kind is ProblemKind.DOWN


def test_a_pod_that_is_gone_is_stale_at_once_but_known_in_the_past():
    series = Series()
    series.scrapes.append(scrape(10.0))
    series.stale = 12.0
    assert series.newest(11.0) is not None
    assert series.newest(13.0) is None


def pod_with(number):
    return SimPod(f"pod-{number}", number, -600.0, 60.0, 0.0, scheduled=-600.0, ready_since=-540.0)


@pytest.mark.parametrize("placement", list(Placement))
def test_refused_users_try_again_until_their_time_is_over(placement):
    visits = tuple(Visit(0.0, 600.0, 30) for _ in range(3))
    audience = Audience(Load("three", 700, visits), 1, random.Random(1), placement)
    pods = [pod_with(1), pod_with(2)]
    for second in range(60):
        audience.step(float(second), pods)
    assert (audience.demand, audience.absent) == (3, 1)
    assert audience.refusals > 1
    pods.append(pod_with(3))
    for second in range(60, 600):
        audience.step(float(second), pods)
    assert audience.absent == 0
    audience.step(600.0, pods)
    assert audience.demand == 0
    assert [pod.frames_per_second for pod in pods] == [0, 0, 0]


def test_without_stickiness_the_load_is_level():
    visits = tuple(Visit(0.0, 100.0, 30) for _ in range(9))
    audience = Audience(Load("nine", 200, visits), 8, random.Random(1), sticky=False)
    pods = [pod_with(1), pod_with(2)]
    audience.step(0.0, pods)
    pods.append(pod_with(3))
    audience.step(1.0, pods)
    assert [len(pod.sessions) for pod in pods] == [3, 3, 3]


def test_a_load_follows_its_curve():
    shape = Shape(3000, piecewise((0, 0.2), (1500, 1.0)), Lengths(200.0))
    counts = []
    for seed in range(5):
        visits = load_of("ramp", shape, 50.0, random.Random(seed)).visits
        counts.append(sum(visit.arrival <= 2500 < visit.end for visit in visits))
    assert 42 <= sum(counts) / len(counts) <= 58


def test_heavy_tails_have_the_mean_that_was_asked_for():
    rng = random.Random(3)
    drawn = [Lengths(400.0, sigma=1.6).draw(rng) for _ in range(40_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(400.0, rel=0.15)
    assert max(drawn) > 10_000


def test_reversals_are_changes_of_direction_within_ten_minutes():
    score, direction = Score(), Direction(3)
    for time, number in ((0, 4), (100, 3), (200, 3), (900, 4), (1000, 5)):
        direction.see(number, float(time), score, blind=False)
    assert (score.ups, score.downs, score.reversals) == (3, 1, 1)
