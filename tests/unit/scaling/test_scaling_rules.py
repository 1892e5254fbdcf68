"""The rules, each with the example that breaks its naive version."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mediapipeline_operator.api.reasons import EventReason
from mediapipeline_operator.core.scaling import Blocker, DecisionAction, Limit, Reason, ScalingState, SetReplicas
from mediapipeline_operator.core.scaling.feedforward import needed_replicas, needed_with_expected
from mediapipeline_operator.core.scaling.model import FeedbackStep, HistoryEntry


def blockers(outcome):
    return set(outcome.decision.blocked_by)


def reasons(outcome):
    return {proposal.reason for proposal in outcome.decision.proposals}


@pytest.mark.parametrize(
    ("sessions", "capacity", "target", "replicas"),
    [(0, 8, 70, 0), (1, 8, 70, 1), (56, 8, 70, 10), (57, 8, 70, 11), (14, 10, 70, 2), (15, 10, 70, 3)],
)
def test_needed_replicas_in_whole_numbers(sessions, capacity, target, replicas):
    """56 / (8 x 0.7) is 10.000000000000002 in floating point, and its ceiling 11."""
    assert needed_replicas(sessions, capacity, target) == replicas


def test_feed_forward_acts_before_latency_shows_anything(make):
    outcome = make.fleet(3, sessions=7, p95=20).tick()
    assert make.raised(outcome) == 4
    assert outcome.decision.reason is Reason.SESSIONS_NEED_CAPACITY


def test_feed_forward_is_not_part_of_threshold(make):
    assert make.fleet(3, sessions=7, policy="Threshold").tick().actions == ()


def test_growth_during_a_start_up_is_bought_ahead(make):
    assert make.fleet(3, sessions=5).tick().actions == ()
    assert make.raised(make.fleet(3, sessions=5, growth=0.4).tick()) == 5  # 20 a minute beyond chance: 17 in 50 s


@pytest.mark.parametrize(
    ("sessions", "target", "replicas"), [(32, 70, 5), (33, 70, 6), (33, 75, 5), (34, 75, 6), (40, 100, 5), (0, 70, 0)]
)
def test_expected_sessions_may_use_a_third_of_the_reserve(sessions, target, replicas):
    """8 places at a target of 70 % are 5.6 for those that are here, and 6.4 with those that are expected."""
    assert needed_with_expected(sessions, 8, target) == replicas


def test_the_reserve_and_the_forecast_are_not_paid_for_twice(make):
    """24 sessions need 5 replicas, and with the 6 that are expected those 5 are 75 % used.

    Naive: 30 sessions within the target are 6 replicas, and when nobody comes any more there is one too many.
    """
    assert make.raised(make.fleet(3, sessions=8, growth=0.2).tick()) == 5


def test_those_that_are_here_stay_within_the_target_whatever_is_expected(make):
    outcome = make.fleet(3, sessions=7, growth=0.1).tick()  # 21 and 2 more: 23 need 4 at 80 % as well
    assert make.raised(outcome) == 4
    assert "21 sessions need 4 replicas at 70 % of 8 a replica" in outcome.text


def test_shrinking_demand_is_no_negative_demand(make):
    assert make.raised(make.fleet(3, sessions=7, growth=-1.0).tick()) == 4


def test_buffer_is_kept_free(make):
    assert make.raised(make.fleet(3, sessions=5, sessions_per_replica=8).tick()) is None
    buffered = make.fleet(3, sessions=5)
    spec = buffered.spec.model_copy(
        update={
            "autoscaling": buffered.spec.autoscaling.model_copy(
                update={"sessions": buffered.spec.autoscaling.sessions.model_copy(update={"buffer": 4})}
            )
        }
    )
    assert make.raised(replace(buffered, spec=spec).tick()) == 4


def test_no_free_session_anywhere_adds_one_under_threshold_too(make):
    outcome = make.fleet(3, sessions=8, policy="Threshold").tick()
    assert make.raised(outcome) == 4
    assert outcome.decision.reason is Reason.NO_FREE_SESSION


def test_one_refused_offer_is_not_yet_demand_two_ticks_of_them_are(make):
    first, second = make.fleet(3, rejected=0.1, policy="Threshold").run(10)
    assert first.actions == ()
    assert make.raised(second) == 4
    assert second.decision.reason is Reason.DEMAND_REJECTED


def test_no_second_step_while_replicas_of_the_first_are_starting(make):
    """Sticky sessions: the miss stays until the new replica takes load. Naive: one more every 30 s, to the maximum."""
    breach = make.fleet(3, miss=0.1, policy="Threshold").settle(20)
    starting = (*breach.workload.pods, make.pod("new", age=10, ready=False, now=breach.now))
    waiting = replace(breach, workload=replace(breach.workload, replicas=4, pods=starting))
    assert waiting.tick().actions == ()
    assert breach.with_pods(*breach.workload.pods, replicas=4).tick().actions == ()  # its pod is not even created


def test_a_stuck_pod_no_longer_holds_the_feedback_back(make):
    breach = make.fleet(3, miss=0.1, policy="Threshold").settle(20)
    stuck = (*breach.workload.pods, make.pod("stuck", age=500, ready=False, now=breach.now))
    assert make.raised(breach.with_pods(*stuck).tick()) == 5
    assert make.raised(breach.tick()) == 4  # and without the guards the step is due


def test_rate_limit_doubles_or_adds_four_a_minute(make):
    outcome = make.fleet(2, sessions=8, maxReplicas=100, growth=10.0).tick()
    assert outcome.actions == (SetReplicas(to=6, expect=2),)
    assert outcome.decision.limited_by == (Limit.RATE,)


def test_rate_limit_counts_from_the_number_a_minute_ago(make):
    fleet = make.fleet(6, sessions=8, maxReplicas=100, growth=10.0)
    entry = HistoryEntry("x", fleet.now, DecisionAction.UP, 2, 6, Reason.SESSIONS_NEED_CAPACITY, "")
    busy = replace(
        fleet, state=ScalingState(history=(entry,), jump_since=fleet.now), now=fleet.now + timedelta(seconds=59)
    )
    assert busy.tick().actions == ()
    assert make.raised(replace(busy, now=busy.now + timedelta(seconds=1)).tick()) == 12


def test_at_the_maximum_in_breach_capacity_is_exhausted_once(make):
    outcomes = make.fleet(4, sessions=8, miss=0.1, maxReplicas=4).run(120)
    events = [event.reason for outcome in outcomes for event in outcome.events]
    assert events == [EventReason.CAPACITY_EXHAUSTED]
    limited = next(item for item in outcomes[-1].conditions if item.type == "ScalingLimited")
    assert (limited.status, limited.reason) == (True, "CapacityExhausted")


def test_low_p95_does_not_lower_into_saturation(make):
    """3 replicas of 8 with 5 sessions each at 20 ms: p95 allows it, 2 replicas would be 94 % used."""
    outcomes = make.fleet(3, sessions=5, p95=20).run(600)
    assert all(outcome.actions == () for outcome in outcomes)
    assert blockers(outcomes[-1]) == {Blocker.SESSIONS_AFTER_REMOVAL}
    assert outcomes[-1].decision.prediction.utilization == pytest.approx(15 / 16)
    assert "2 replicas would be 94 % used (limit 70 %)" in outcomes[-1].text


def test_blocked_scale_down_is_one_event_not_one_a_tick(make):
    outcomes = make.fleet(3, sessions=5).run(600)
    events = [event.reason for outcome in outcomes for event in outcome.events]
    assert events == [EventReason.SCALE_DOWN_BLOCKED]


def test_a_busy_device_forbids_removal_though_sessions_would_fit(make):
    outcomes = make.fleet(3, sessions=2, busy=0.6).run(300)
    assert all(outcome.actions == () for outcome in outcomes)
    assert Blocker.DEVICE_AFTER_REMOVAL in blockers(outcomes[-1])


def test_removal_does_not_flap_with_feed_forward(make):
    """After each removal that is allowed, feed-forward must not ask for the replica back."""
    for sessions in range(9):
        before = make.fleet(4, sessions=sessions).run(130)[-2:]
        if any(outcome.decision.action is DecisionAction.DOWN for outcome in before):
            assert needed_replicas(4 * sessions, 8, 70) <= 3


def test_after_an_up_a_full_quiet_window_is_needed(make):
    quiet = make.fleet(3, sessions=1).settle(110)
    sudden = replace(quiet, signals=make.fleet(3, sessions=8).signals)
    up = sudden.tick()
    assert up.decision.action is DecisionAction.UP
    calm = make.fleet(4, sessions=1)
    outcomes = replace(calm, state=up.state, now=sudden.now + timedelta(seconds=10)).run(110)
    assert all(outcome.decision.action is DecisionAction.HOLD for outcome in outcomes[:-1])


def test_rollout_freezes_scaling_down_but_never_up(make):
    def rolling(fleet, minutes):
        since = fleet.now - timedelta(minutes=minutes)
        return replace(fleet, workload=replace(fleet.workload, rollout_in_progress=True, rollout_since=since))

    quiet = make.fleet(4, sessions=1).settle(110)
    assert rolling(quiet, 1).tick().actions == ()
    assert rolling(quiet, 11).tick().decision.action is DecisionAction.DOWN  # no progress: it freezes nothing
    assert make.raised(rolling(make.fleet(3, sessions=8), 1).tick()) == 5


def test_two_ineffective_steps_stop_the_feedback_and_recovery_rearms_it(make):
    """One hot sticky pod: whatever is added, the missed share stays."""
    fleet = make.fleet(3, sessions=1, miss=0.1, policy="Threshold", maxReplicas=50)
    ups, now = 0, fleet
    for _ in range(60):
        outcome = now.tick()
        ups += outcome.decision.action is DecisionAction.UP
        size = make.raised(outcome) or now.workload.replicas
        pods = tuple(make.pod(f"pod-{i}", age=600, now=now.now) for i in range(size))
        seen = {pod.name: make.pod_signals(0) for pod in pods} | dict(fleet.signals.pods)
        now = now.after(10, outcome, signals=replace(fleet.signals, pods=seen)).with_pods(*pods)
    assert ups == 2
    assert outcome.decision.reason is Reason.SCALE_UP_INEFFECTIVE
    calm = replace(
        now, signals=replace(now.signals, ok_per_second=make.fleet(3, sessions=1).signals.ok_per_second)
    ).tick()
    assert calm.state.ineffective_ups == 0


def test_a_step_that_helped_is_not_ineffective(make):
    state = ScalingState(feedback=FeedbackStep(miss_per_mille=400, sessions=3), ineffective_ups=1)
    fleet = replace(make.fleet(3, sessions=1, miss=0.2, policy="Threshold"), state=state)
    assert fleet.run(30)[-1].state.ineffective_ups == 0


def test_ineffective_feedback_does_not_silence_feed_forward(make):
    state = ScalingState(feedback=FeedbackStep(100, 30), ineffective_ups=2)
    outcome = replace(make.fleet(3, sessions=8, miss=0.1), state=state).tick()
    assert make.raised(outcome) == 5


def test_capacity_is_learned_from_a_breach_not_from_low_load(make):
    """Naive: the highest load carried well so far. One session a replica would become the capacity of a replica."""
    assert make.fleet(3, sessions=1).run(600)[-1].state.learned_capacity is None
    assert make.fleet(3, sessions=6, miss=0.1, policy="Threshold").run(30)[-1].state.learned_capacity == 5


def test_a_breach_at_low_load_does_not_shrink_the_capacity_for_ever(make):
    assert make.fleet(3, sessions=1, miss=0.1).run(30)[-1].state.learned_capacity == 4


def test_a_higher_load_carried_well_raises_the_learned_capacity(make):
    state = ScalingState(learned_capacity=4)
    assert replace(make.fleet(3, sessions=6), state=state).tick().state.learned_capacity == 6
    assert replace(make.fleet(3, sessions=6, growth=0.1), state=state).tick().state.learned_capacity == 4


def test_advisory_decides_and_touches_nothing(make):
    outcomes = make.fleet(3, sessions=8, mode="Advisory").run(60)
    assert all(outcome.actions == () for outcome in outcomes)
    assert outcomes[-1].desired_replicas == 5
    assert outcomes[-1].text.startswith("advised: up 3→5")
    events = [event.reason for outcome in outcomes for event in outcome.events]
    assert events == [EventReason.ADVISORY_RECOMMENDATION]


def test_paused_touches_nothing_and_says_so_once(make):
    outcomes = make.fleet(3, sessions=8, paused=True).run(60)
    assert all(outcome.actions == () for outcome in outcomes)
    assert [event.reason for outcome in outcomes for event in outcome.events] == [EventReason.AUTOSCALING_PAUSED]
    resumed = replace(make.fleet(3, sessions=4), state=outcomes[-1].state).tick()
    assert [event.reason for event in resumed.events] == [EventReason.AUTOSCALING_RESUMED]


def test_above_the_maximum_drains_whatever_the_load(make):
    outcome = make.fleet(6, sessions=8, maxReplicas=4).tick()
    assert outcome.decision.action is DecisionAction.DOWN
    assert outcome.decision.reason is Reason.ABOVE_MAXIMUM


def test_the_same_hold_keeps_its_id_and_time(make):
    first, *_, last = make.fleet(3, p95=75).run(200)
    assert first.decision.id == last.decision.id
    assert not last.log_due or last.decision.time == first.decision.time


def test_log_is_due_on_change_and_every_five_minutes(make):
    outcomes = list(make.fleet(3, p95=75).run(600))
    due = [outcome.log_due for outcome in outcomes]
    assert due[0]
    assert sum(due) == 3
    assert [outcome.is_new for outcome in outcomes] == [True] + [False] * (len(outcomes) - 1)


def test_pipelines_in_which_nothing_changes_are_logged_at_different_times(make):
    """All of them in one tick would be thousands of lines."""
    fleets = [replace(make.fleet(3, p95=75), log_offset_seconds=offset) for offset in (0, 100, 200)]
    due = [{number for number, outcome in enumerate(fleet.run(900)) if outcome.log_due} for fleet in fleets]
    assert [len(numbers) for numbers in due] == [4, 4, 4]
    assert set.intersection(*due) == {0}


def test_after_a_step_the_breach_must_last_its_full_time_again(make):
    """The rates still hold the frames of before: a second step at once would answer the same breach twice."""
    breach = make.fleet(3, sessions=1, miss=0.1, policy="Threshold").settle(20)
    up = breach.tick()
    assert make.raised(up) == 4
    grown = make.fleet(4, sessions=1, miss=0.1, policy="Threshold")
    later = replace(grown, state=up.state, now=breach.now + timedelta(seconds=10))
    assert [make.raised(outcome) for outcome in later.run(30)] == [None, None, None, 5]


def test_no_wait_becomes_shorter_by_rounding(make):
    """Status keeps whole seconds. Rounded down, 30 s asked for would be 29.1 s waited."""
    begin = make.START + timedelta(milliseconds=100)
    first = replace(make.fleet(3, sessions=1, miss=0.1, policy="Threshold"), now=begin).tick()
    assert first.state.breach_since == make.START + timedelta(seconds=1)
    early = replace(make.fleet(3, sessions=1, miss=0.1, policy="Threshold"), state=first.state)
    assert replace(early, now=begin + timedelta(seconds=29)).tick().actions == ()
