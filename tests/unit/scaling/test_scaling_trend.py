"""What counts as growth: a trend beyond chance; and what is too short to be a decline."""

from mediapipeline_operator.core.scaling import Blocker
from mediapipeline_operator.core.scaling.feedforward import expected_arrivals
from mediapipeline_operator.core.scaling.situation import Situation


def arrivals(make, sessions, grown):
    fleet = make.fleet(8, sessions=5, growth=grown / 120)
    situation = Situation(fleet.spec, fleet.workload, fleet.signals, fleet.state, fleet.now, 10.0)
    return expected_arrivals(situation, sessions)


def test_growth_within_chance_is_no_trend(make):
    assert arrivals(make, 36, 6) == 0  # the count of 36 independent sessions strays by 6


def test_growth_beyond_chance_counts_and_never_less_for_more_sessions(make):
    assert arrivals(make, 36, 18) > 0
    totals = [sessions + arrivals(make, sessions, 18) for sessions in range(200)]
    assert totals == sorted(totals)


def test_a_dip_of_two_minutes_starts_no_drain(make):
    """12 sessions on 4 replicas let one go (50 % of 24 on three); 20 two minutes ago (83 %) do not."""
    steady = make.fleet(4, sessions=3, growth=0.0).run(130)[-1]
    dipped = make.fleet(4, sessions=3, growth=-8 / 120).run(130)[-1]
    assert Blocker.SESSIONS_AFTER_REMOVAL not in steady.decision.blocked_by
    assert Blocker.SESSIONS_AFTER_REMOVAL in dipped.decision.blocked_by
