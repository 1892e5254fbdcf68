"""p95 by HTTP requests and by the pipeline's own query: the same rule, the same caution."""

import math
from dataclasses import replace

import pytest

from mediapipeline_operator.core.scaling import DataState, DecisionAction, Problem, ProblemKind, Reason
from mediapipeline_operator.core.scaling.signals import Sample, Series, with_own_query

QUERY = {"source": "Query", "query": 'x{namespace="media"}'}


def queried(make, seconds, n=3, sessions=4, **scaling):
    fleet = make.fleet(n, sessions=sessions, latency=QUERY, **scaling)
    return replace(fleet, signals=replace(fleet.signals, latency_seconds=seconds))


def test_a_query_above_the_upper_threshold_adds_one_after_its_time(make):
    outcomes = queried(make, 0.130).run(40)
    assert outcomes[0].data_state is DataState.FRESH
    assert outcomes[0].decision.action is DecisionAction.HOLD
    raised = next(outcome for outcome in outcomes if outcome.decision.action is DecisionAction.UP)
    assert raised is outcomes[3]
    assert raised.decision.reason is Reason.LATENCY_HIGH
    assert "p95 by the query was 130 ms, above the limit for 30 s (limit 100 ms for 30 s)" in raised.text
    assert raised.latency_status["p95Milliseconds"] == 130


def test_a_querys_magnitude_is_no_gain(make):
    raised = queried(make, 60.0, n=6).run(30)[-1]
    assert raised.decision.to_replicas == 7


def test_a_query_below_the_lower_threshold_lets_go_after_its_time(make):
    lowered = queried(make, 0.020, n=4, sessions=1).run(120)[-1]
    assert lowered.decision.action is DecisionAction.DOWN


def test_a_query_between_the_thresholds_changes_nothing(make):
    assert queried(make, 0.070, n=4, sessions=1).settle(600).tick().decision.action is DecisionAction.HOLD


def test_a_query_without_samples_under_load_is_missing_and_without_load_idle(make):
    assert queried(make, None).tick().data_state is DataState.MISSING
    idle = queried(make, None, sessions=0)
    assert idle.tick().data_state is DataState.IDLE


def test_a_querys_steps_without_effect_end(make):
    """The value stays, so the third step is not taken (sessions leave room)."""
    fleet, ups = queried(make, 0.2, n=3, sessions=1, maxReplicas=30), 0
    for _ in range(60):
        outcome = fleet.tick()
        ups += outcome.decision.action is DecisionAction.UP
        fleet = fleet.after(10, outcome)
    assert ups == 2
    assert outcome.decision.reason is Reason.SCALE_UP_INEFFECTIVE


@pytest.mark.parametrize(
    ("answer", "seconds", "problem"),
    [
        ([Sample(0.2)], 0.2, None),
        ([], None, None),
        ([Sample(math.nan)], None, None),
        ([Sample(1.0, Series(pod="1")), Sample(1.0, Series(pod="2"))], None, ProblemKind.SEVERAL_SERIES),
        ([Sample(-1.0)], None, ProblemKind.VALUE),
        ([Sample(math.inf)], None, ProblemKind.VALUE),
        ([Sample(-math.inf)], None, ProblemKind.VALUE),
        (Problem(ProblemKind.TIMEOUT, "late"), None, ProblemKind.TIMEOUT),
        (Problem(ProblemKind.UNAUTHORIZED, "no"), None, ProblemKind.UNAUTHORIZED),
    ],
)
def test_what_a_query_may_answer(make, answer, seconds, problem):
    fleet = queried(make, None)
    signals = with_own_query(fleet.signals, answer)
    assert signals.latency_seconds == seconds
    assert (signals.problem.kind if signals.problem else None) is problem
    outcome = replace(fleet, signals=signals).settle(600).tick()
    if problem is not None:
        assert outcome.data_state is DataState.MISSING
        assert outcome.decision.action is DecisionAction.HOLD
        assert "MetricsAvailable" in {one.type for one in outcome.conditions if one.status is False}


def test_requests_are_spoken_of_as_requests(make):
    outcome = make.fleet(3, sessions=4, miss=0.3, latency={"source": "Request"}).run(30)[-1]
    assert "30.0 % of requests took over 100 ms" in outcome.text
    names = [row["name"] for row in outcome.autoscaling_status["signals"]]
    assert names[:3] == ["RequestLatency", "LateRequests", "WorstReplicaLateRequests"]


def test_a_missing_bucket_of_requests_is_named(make):
    fleet = make.fleet(3, sessions=4, latency={"source": "Request"})
    outcome = replace(fleet, signals=replace(fleet.signals, ok_per_second={0.05: 1.0})).tick()
    assert outcome.data_state is DataState.MISSING
    assert "app_request_latency_seconds has no bucket at 100 ms" in outcome.text


def test_requests_without_sessions_are_load(make):
    """Nobody is connected and no frame comes, but HTTP requests do: not idle."""
    fleet = make.fleet(3, sessions=0)
    assert fleet.tick().data_state is DataState.IDLE
    pods = {name: replace(seen, requests_per_second=0.5) for name, seen in fleet.signals.pods.items()}
    assert replace(fleet, signals=replace(fleet.signals, pods=pods)).tick().data_state is DataState.LOW_SAMPLE
