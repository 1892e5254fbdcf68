"""Times that were noted by an operator whose clock was ahead do not make the next one wait for them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mediapipeline_operator.core.scaling import ScalingState
from mediapipeline_operator.core.scaling.model import DrainRecord, HistoryEntry
from mediapipeline_operator.core.scaling.reasons import DecisionAction, Reason

HOUR = timedelta(hours=1)


def _up(time, start, end):
    return HistoryEntry("", time, DecisionAction.UP, start, end, Reason.LATENCY_HIGH, "")


def test_a_breach_is_acted_on_after_its_usual_time(make):
    late = make.fleet(3, p95=250, miss=0.1)
    ahead = replace(late, state=ScalingState(breach_since=make.START + HOUR, last_scale_up=make.START + HOUR))
    steps = [[make.raised(outcome) for outcome in one.run(120)] for one in (late, ahead)]
    assert any(steps[0])
    assert steps[1] == steps[0]


def test_steps_of_the_future_are_not_recent_for_an_hour(make):
    history = tuple(_up(make.START + HOUR, 1 + step, 2 + step) for step in range(3))
    busy = make.fleet(4, sessions=60, p95=20, maxReplicas=50)
    ahead = replace(busy, state=ScalingState(history=history))
    assert make.raised(ahead.tick()) is not None
    later = ahead.after(70, ahead.tick())
    assert make.raised(later.tick()) == make.raised(busy.after(70, busy.tick()).tick())


@pytest.mark.parametrize("field", ["unknown_since", "healthy_since", "rejected_since", "jump_since", "last_scale_down"])
def test_no_time_of_the_future_is_believed(make, field):
    state = ScalingState(**{field: make.START + HOUR}).not_after(make.START)
    assert getattr(state, field) == make.START


def test_what_has_been_stays(make):
    before = make.START - HOUR
    drain = DrainRecord("pod-0", "uid-pod-0", before, 1, removing=False)
    state = ScalingState(breach_since=before, drains=(drain,), history=(_up(before, 1, 2),), current=_up(before, 1, 2))
    assert state.not_after(make.START) == state


def test_a_drain_that_begins_in_the_future_is_timed_from_now(make):
    drain = DrainRecord("pod-0", "uid-pod-0", make.START + HOUR, 1, removing=False)
    marked = make.pod("pod-0", draining=True, drain_started=make.START + HOUR)
    fleet = make.fleet(2, sessions=1, minReplicas=1).with_pods(marked, make.pod("pod-1"))
    outcome = replace(fleet, state=ScalingState(drains=(drain,))).tick()
    assert [one.started for one in outcome.state.drains] == [make.START]
