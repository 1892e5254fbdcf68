"""Each invariant can fail: one rule of the law is broken at a time, and its check must find a case.

Soak, since hypothesis looks through thousands of inputs: pytest tests/property -m soak.
"""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st

from mediapipeline_operator.core.scaling import (
    DataState,
    ScalingState,
    drain,
    feedforward,
    law,
    limits,
    removal,
    states,
)
from mediapipeline_operator.core.scaling.situation import Situation
from property import test_scaling_invariants as invariants

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
LOOK = settings(
    max_examples=20_000,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # any case will do
    suppress_health_check=list(HealthCheck),
)


def single(check):
    """A check of one outcome."""

    def checked(spec, workload, signals, state):
        check(spec, workload, invariants.run(spec, workload, signals, state))

    return (), checked


def every_state_may_lower(patch):
    patch.setattr(removal, "LOWERING", frozenset(DataState))
    patch.setattr(law, "LOWERING", frozenset(DataState))


def a_drain_marks_everybody(patch):
    start = drain.start
    patch.setattr(
        drain, "start", lambda situation, pod: tuple(a for p in situation.unmarked for a in start(situation, p))
    )


def forgets_its_timers(patch):
    patch.setattr(ScalingState, "timers", lambda self: {})


def takes_latency_for_long_low(patch):
    since = states.healthy_since

    def long_ago(situation, data_state):
        found = since(situation, data_state)
        return None if found is None else found - timedelta(hours=1)

    patch.setattr(states, "healthy_since", long_ago)


def counts_only_what_came_back(patch):
    """Naive: the share of the served frames that are late. What was dropped is not in the histogram."""

    def miss(self, milliseconds):
        on_time = self.signals.ok_per_second.get(milliseconds / 1000.0)
        served = max(self.signals.ok_per_second.values(), default=0.0)
        return None if not served or on_time is None else 1.0 - on_time / served

    patch.setattr(Situation, "miss", miss)


BROKEN = {
    "no bounds": (
        lambda patch: patch.setattr(limits, "bounds", lambda situation: (1, 10**6)),
        single(invariants.bounds_are_respected_and_the_expectation_is_what_was_observed),
    ),
    "unknown is trusted": (every_state_may_lower, single(invariants.never_down_on_unknown_data)),
    "several drains at once": (a_drain_marks_everybody, single(invariants.at_most_one_destructive_step)),
    "nobody asks the pod": (
        lambda patch: patch.setattr(drain, "is_empty", lambda pod: True),
        single(invariants.never_lowered_for_a_pod_that_has_sessions_or_did_not_say_that_it_has_none),
    ),
    "no prediction": (
        lambda patch: patch.setattr(removal, "_prediction_blockers", lambda *_: ()),
        single(invariants.never_down_when_the_prediction_says_breach),
    ),
    "signals have no veto": (
        lambda patch: patch.setattr(removal.votes, "forbids_removal", lambda situation: False),
        single(invariants.never_down_when_a_signal_is_unknown_or_would_come_near_its_target),
    ),
    "timers are not kept": (forgets_its_timers, single(invariants.a_restarted_operator_knows_what_the_old_one_knew)),
    "low at once is low for long": (
        takes_latency_for_long_low,
        ((), invariants.with_a_lost_status_nothing_is_lowered_at_once),
    ),
    "more sessions need less": (
        lambda patch: patch.setattr(feedforward, "needed_replicas", lambda sessions, capacity, target: 30 - sessions),
        (invariants.MORE_SESSIONS, invariants.more_sessions_never_mean_fewer_replicas),
    ),
    "dropped frames do not count": (
        counts_only_what_came_back,
        ((invariants.shares,), invariants.dropped_frames_raise_the_missed_share_and_never_lower_the_wish),
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_law_is_found(name, monkeypatch):
    broken, (more, check) = BROKEN[name]
    broken(monkeypatch)

    def fails(drawn):
        try:
            check(*drawn[0], *drawn[1:])
        except AssertionError:
            return True
        return False

    find(st.tuples(invariants.decided, *more), fails, settings=LOOK)
