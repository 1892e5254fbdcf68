"""Each data state, and that none but Fresh, Idle and LowSample ever lowers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mediapipeline_operator.api.reasons import ConditionType, EventReason
from mediapipeline_operator.core.scaling import (
    DataState,
    DecisionAction,
    ProblemKind,
    Reason,
    SetReplicas,
    Signals,
    WorkloadFacts,
)


def condition(outcome, kind):
    return next(item for item in outcome.conditions if item.type is kind)


def silence(fleet, *names):
    pods = {
        name: replace(seen, age_seconds=None) if name in names else seen for name, seen in fleet.signals.pods.items()
    }
    return replace(fleet, signals=replace(fleet.signals, pods=pods))


def state_of(fleet):
    return fleet.tick().data_state


def test_fresh(make):
    assert state_of(make.fleet(3)) is DataState.FRESH


def test_four_of_five_reporting_is_fresh_three_of_five_is_partial(make):
    fleet = make.fleet(5)
    assert state_of(silence(fleet, "pod-0")) is DataState.FRESH
    assert state_of(silence(fleet, "pod-0", "pod-1")) is DataState.PARTIAL


def test_partial_counts_silent_pods_as_full_and_never_lowers(make):
    fleet = silence(make.fleet(3, sessions=1), "pod-0", "pod-1")
    outcomes = fleet.run(600)
    assert all(outcome.decision.action is not DecisionAction.DOWN for outcome in outcomes)
    assert outcomes[0].sessions_status["active"] == 3  # what is known is shown as it is
    need = next(p.replicas for p in outcomes[0].decision.proposals if p.reason is Reason.SESSIONS_NEED_CAPACITY)
    assert need == 4  # 1 + 8 + 8 sessions at 5.6 a replica


def test_partial_still_scales_up(make):
    fleet = silence(make.fleet(3, sessions=1, miss=0.1, policy="Threshold"), "pod-0")
    assert make.raised(fleet.run(30)[-1]) == 4


def test_no_sessions_and_no_frames_is_idle_and_goes_to_the_minimum(make):
    outcomes = make.fleet(3, sessions=0, minReplicas=2).run(120)
    assert outcomes[0].data_state is DataState.IDLE
    assert outcomes[-1].decision.reason is Reason.NO_TRAFFIC


def test_muted_cameras_are_low_sample_not_idle(make):
    """No frames arrive, p95 is not a number, and 15 people are in the call."""
    outcomes = make.fleet(3, sessions=5, rate=0.0).run(600)
    assert {outcome.data_state for outcome in outcomes} == {DataState.LOW_SAMPLE}
    assert all(outcome.actions == () for outcome in outcomes)


def test_low_sample_lowers_by_sessions_after_twice_the_time(make):
    outcomes = make.fleet(4, sessions=1, rate=0.1).run(240)
    assert outcomes[0].data_state is DataState.LOW_SAMPLE
    assert all(outcome.actions == () for outcome in outcomes[:-1])
    assert outcomes[-1].decision.action is DecisionAction.DOWN


def test_a_missed_frame_in_low_sample_starts_the_time_again(make):
    lucky = make.fleet(4, sessions=1, rate=0.1).settle(200)
    unlucky = make.fleet(4, sessions=1, rate=0.1, miss=0.01)
    bad = replace(lucky, signals=unlucky.signals).tick()
    assert lucky.after(60, bad).tick().decision.action is DecisionAction.HOLD


def test_old_samples_are_stale(make):
    outcomes = make.fleet(3, sessions=1, age=30.0).run(300)
    assert {outcome.data_state for outcome in outcomes} == {DataState.STALE}
    assert all(outcome.actions == () for outcome in outcomes)


@pytest.mark.parametrize("kind", list(ProblemKind))
def test_a_failed_query_holds_for_ever(make, kind):
    fleet = replace(make.fleet(6, sessions=0), signals=Signals.missing(kind, "broken"))
    outcomes = fleet.run(600)
    assert {outcome.data_state for outcome in outcomes} == {DataState.MISSING}
    assert all(outcome.actions == () for outcome in outcomes)
    assert outcomes[-1].desired_replicas == 6


def test_a_problem_is_announced_once_after_60_seconds_and_its_end_too(make):
    broken = replace(make.fleet(3), signals=Signals.missing(ProblemKind.DOWN, "cannot be reached"))
    outcomes = broken.run(120)
    said = [event.reason for outcome in outcomes for event in outcome.events]
    assert said == [EventReason.METRICS_MISSING]
    assert outcomes[6].events
    assert condition(outcomes[5], ConditionType.METRICS_AVAILABLE).status is True
    assert condition(outcomes[6], ConditionType.METRICS_AVAILABLE).status is False
    back = broken.after(130, outcomes[-1], signals=make.fleet(3).signals).tick()
    assert [event.reason for event in back.events] == [EventReason.METRICS_RECOVERED]
    assert condition(back, ConditionType.METRICS_AVAILABLE).status is True


def test_after_recovery_a_full_window_is_needed(make):
    fine = make.fleet(3, sessions=1)
    nearly = fine.settle(110)
    lost = replace(nearly, signals=Signals.missing(ProblemKind.TIMEOUT)).tick()
    back = nearly.after(10, lost).run(120)
    assert all(outcome.actions == () for outcome in back[:-1])
    assert back[-1].decision.action is DecisionAction.DOWN


def test_no_scrape_target_is_missing_not_idle(make):
    """Nobody scrapes: no frames, no sessions, exactly as if nobody were there."""
    fleet = replace(make.fleet(4, sessions=0), signals=Signals(window_seconds=20))
    outcome = fleet.tick()
    assert outcome.data_state is DataState.MISSING
    assert "no target" in outcome.text


def test_a_missing_bucket_is_missing_not_all_late(make):
    fleet = make.fleet(3)
    ok = {bound: value for bound, value in fleet.signals.ok_per_second.items() if bound != 0.1}
    outcome = replace(fleet, signals=replace(fleet.signals, ok_per_second=ok)).tick()
    assert outcome.data_state is DataState.MISSING
    assert "100 ms" in outcome.text


def test_a_missing_session_gauge_is_missing_not_empty(make):
    fleet = make.fleet(3)
    pods = {name: replace(seen, sessions=None) for name, seen in fleet.signals.pods.items()}
    assert state_of(replace(fleet, signals=replace(fleet.signals, pods=pods))) is DataState.MISSING


def test_missing_frame_counters_are_missing_not_muted_cameras(make):
    fleet = make.fleet(3)
    assert state_of(replace(fleet, signals=replace(fleet.signals, received_per_second=None))) is DataState.MISSING


def test_new_pods_are_starting_without_a_warning(make):
    pods = tuple(make.pod(f"pod-{i}", age=100, ready=False) for i in range(3))
    fleet = replace(make.fleet(3), workload=WorkloadFacts(3, pods=pods), signals=Signals(window_seconds=20))
    outcomes = fleet.run(300)
    assert outcomes[0].data_state is DataState.STARTING
    assert not any(outcome.events or outcome.actions for outcome in outcomes)


def test_the_minimum_holds_without_metrics(make):
    fleet = replace(make.fleet(2, minReplicas=4), signals=Signals.missing(ProblemKind.DOWN))
    assert fleet.tick().actions == (SetReplicas(to=4, expect=2),)


def test_fallback_raises_after_its_time_and_never_lowers(make):
    broken = Signals.missing(ProblemKind.DOWN)
    fallback = {"afterSeconds": 180, "replicas": 6}
    outcomes = replace(make.fleet(4, fallback=fallback), signals=broken).run(180)
    assert all(outcome.actions == () for outcome in outcomes[:-1])
    assert make.raised(outcomes[-1]) == 6
    assert EventReason.FALLBACK_ACTIVATED in [event.reason for event in outcomes[-1].events]
    more = replace(make.fleet(8, fallback=fallback), signals=broken).run(600)
    assert all(outcome.actions == () for outcome in more)


def test_a_batch_serves_until_the_next_tick_and_no_longer(make):
    """The measuring loop hangs: what it measured last looks fresh for ever, unless its own age counts."""
    fleet = make.fleet(3)
    taken = replace(fleet, signals=replace(fleet.signals, taken=fleet.now))
    assert state_of(replace(taken, now=fleet.now + timedelta(seconds=15))) is DataState.FRESH
    assert state_of(replace(taken, now=fleet.now + timedelta(seconds=30))) is DataState.STALE


def test_one_lost_tick_pauses_a_breach_two_end_it(make):
    breach = make.fleet(3, miss=0.1, policy="Threshold")
    lost = Signals.missing(ProblemKind.TIMEOUT)
    first = breach.settle(20)
    one = replace(first, signals=lost).tick()
    assert make.raised(first.after(10, one).tick()) == 4
    two = replace(first.after(10, one), signals=lost).tick()
    three = replace(first.after(20, two), signals=lost).tick()
    assert three.state.breach_since is None


def test_a_stuck_rollout_is_not_asked_about_the_data(make):
    fleet = make.fleet(3, sessions=1)
    since = fleet.now - timedelta(minutes=1)
    busy = replace(fleet, workload=replace(fleet.workload, rollout_in_progress=True, rollout_since=since))
    outcome = busy.settle(130).tick()
    assert "RolloutInProgress" in [word.value for word in outcome.decision.blocked_by]
