"""What counts as growth: a trend beyond chance; and how much room for chance a removal leaves."""

from dataclasses import replace

import pytest

from mediapipeline_operator.core.scaling import Blocker, DecisionAction
from mediapipeline_operator.core.scaling.feedforward import expected_arrivals
from mediapipeline_operator.core.scaling.situation import Situation


def arrivals(make, sessions, grown):
    fleet = make.fleet(8, sessions=5, growth=grown / 60)
    situation = Situation(fleet.spec, fleet.workload, fleet.signals, fleet.state, fleet.now, 10.0)
    return expected_arrivals(situation, sessions)


def test_growth_within_chance_is_no_trend(make):
    assert arrivals(make, 36, 6) == 0  # the count of 36 independent sessions strays by 6


def test_growth_beyond_chance_counts_and_never_less_for_more_sessions(make):
    assert arrivals(make, 36, 18) > 0
    totals = [sessions + arrivals(make, sessions, 18) for sessions in range(200)]
    assert totals == sorted(totals)


@pytest.mark.parametrize(("sessions", "may_go"), [(6, True), (7, False)])
def test_removal_leaves_room_for_chance(make, sessions, may_go):
    """3 replicas of 8 at 70 %: 6 sessions and the 5 that chance may add are 69 % of two replicas, 7 and 6 are 81 %.

    Naive: ten points below the target. 9 sessions would leave (56 %), stray to 12 within minutes, and the replica that
    has just gone would be called back.
    """
    fleet = make.fleet(3, sessions=0, growth=0.0)
    names = [pod.name for pod in fleet.workload.pods]
    seen = {name: make.pod_signals(sessions // 3 + (index < sessions % 3)) for index, name in enumerate(names)}
    outcome = replace(fleet, signals=make.signals(seen)).run(120)[-1]
    assert (outcome.decision.action is DecisionAction.DOWN) is may_go
    assert (Blocker.SESSIONS_AFTER_REMOVAL in outcome.decision.blocked_by) is not may_go


def test_what_chance_may_add_is_said(make):
    text = make.fleet(4, sessions=3).run(130)[-1].text
    assert "3 replicas would be 50 % used, 79 % with the 7 that chance may add (limit 70 %)" in text
