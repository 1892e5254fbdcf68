"""The promise: up when p95 > 100 ms for 30 s, down when p95 < 50 ms for 2 min, 2 to 10 replicas."""

import pytest

from mediapipeline_operator.core.scaling import DecisionAction, MarkDraining, Reason, RequestDrain, SetReplicas

POLICIES = pytest.mark.parametrize("policy", ["SLO", "Threshold"])


@POLICIES
def test_up_one_when_p95_is_above_100_ms_for_30_seconds(make, policy):
    outcomes = make.fleet(3, sessions=1, miss=0.08, policy=policy).run(30)
    assert [outcome.actions for outcome in outcomes[:-1]] == [(), (), ()]
    assert outcomes[-1].actions == (SetReplicas(to=4, expect=3),)
    assert outcomes[-1].decision.reason is Reason.LATENCY_HIGH


@POLICIES
def test_exactly_five_percent_late_is_no_breach(make, policy):
    outcomes = make.fleet(3, miss=0.05, policy=policy).run(60)
    assert all(outcome.decision.action is not DecisionAction.UP for outcome in outcomes)


@POLICIES
def test_a_pause_in_the_breach_starts_the_30_seconds_again(make, policy):
    breach = make.fleet(3, sessions=1, miss=0.08, policy=policy)
    fine = make.fleet(3, sessions=1, policy=policy)
    first = breach.settle(20)
    calm = first.after(0, None, signals=fine.signals).tick()
    again = first.after(10, calm, signals=breach.signals)
    assert [make.raised(outcome) for outcome in again.run(30)] == [None, None, None, 4]


@POLICIES
def test_down_one_by_draining_when_p95_is_below_50_ms_for_2_minutes(make, policy):
    outcomes = make.fleet(3, sessions=2, p95=20, policy=policy).run(120)
    assert all(outcome.actions == () for outcome in outcomes[:-1])
    mark, request = outcomes[-1].actions
    assert isinstance(mark, MarkDraining)
    assert isinstance(request, RequestDrain)
    assert mark.uid == request.uid
    assert outcomes[-1].decision.to_replicas == 2


@POLICIES
def test_p95_between_the_thresholds_keeps_the_number(make, policy):
    outcomes = make.fleet(3, sessions=2, p95=75, policy=policy).run(600)
    assert all(outcome.actions == () for outcome in outcomes)


@POLICIES
def test_never_below_2_and_never_above_10(make, policy):
    assert all(outcome.actions == () for outcome in make.fleet(2, sessions=0, rate=0, policy=policy).run(600))
    top = make.fleet(10, sessions=8, miss=0.5, policy=policy).run(60)
    assert all(outcome.actions == () for outcome in top)
    assert top[-1].decision.reason is Reason.CAPACITY_EXHAUSTED


def test_over_20_percent_missed_adds_half_of_the_fleet(make):
    assert make.raised(make.fleet(5, miss=0.3, policy="Threshold").run(30)[-1]) == 8


def test_dropped_frames_count_as_late_though_every_returned_frame_is_young(make):
    """A service that drops half of the frames to keep the rest at 5 ms would look perfect to a quantile of the age."""
    assert make.raised(make.fleet(3, p95=5, miss=0.5, policy="Threshold").run(30)[-1]) == 5


def test_the_sentence_has_the_numbers(make):
    text = make.fleet(3, sessions=7, miss=0.081, policy="Threshold").run(30)[-1].text
    assert text.startswith("up 3→4 because 8.1 % of frames were missed or over 100 ms for 30 s (limit 5 % for 30 s)")
    assert "7.0 of 8 sessions a replica" in text
    assert "next change not before 12:01:00" in text
