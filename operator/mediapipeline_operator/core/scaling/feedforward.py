"""Sessions lead: replicas for the sessions that are here and those that arrive while a replica starts."""

from __future__ import annotations

import math

from mediapipeline_operator.core.scaling.counting import counted
from mediapipeline_operator.core.scaling.model import PodFacts, Proposal
from mediapipeline_operator.core.scaling.queries import GROWTH_SECONDS
from mediapipeline_operator.core.scaling.reasons import Reason
from mediapipeline_operator.core.scaling.situation import Situation

REACTION_SECONDS = 30.0  # scrape, rate and tick delays before a replica is even asked for


def expected_arrivals(situation: Situation, sessions: int) -> int:
    """Growth of the last minute, continued until a replica that is asked for now would serve. Never negative.

    Only growth beyond chance counts: with independent users the difference of two counts strays by about the square
    root of the count. Without this, 40 steady sessions "grew" by 4 every few minutes, and the fleet moved with it.
    """
    grown = GROWTH_SECONDS * (situation.signals.sessions_growth_per_second or 0.0)
    beyond_chance = max(0.0, grown - straying(sessions))
    horizon = situation.usual_startup_seconds + REACTION_SECONDS
    return math.ceil(beyond_chance / GROWTH_SECONDS * horizon - 1e-9)


def straying(sessions: int) -> float:
    """One standard deviation of a count of independent sessions: its square root."""
    return math.sqrt(max(0, sessions))


def needed_replicas(sessions: int, capacity: int, target_percent: int) -> int:
    """ceil(sessions / (capacity x target)), in whole numbers: 14 / (8 x 0.7) must be 3, not 2.5000000001 rounded up."""
    return -(-sessions * 100 // (capacity * target_percent))


def needed_with_expected(sessions: int, capacity: int, target_percent: int) -> int:
    """Replicas for sessions of which some are only expected: those may use a third of the reserve above the target.

    That reserve is there for what comes while a replica starts. To keep all of it free for those that are expected in
    that very time would pay for them twice: every rise ended with a replica more than its plateau needs.
    """
    return needed_replicas(3 * sessions, capacity, 100 + 2 * target_percent)


def feed_forward(situation: Situation, sessions: int, capacity: int) -> Proposal:
    """The sessions that are here stay within the target; with those that are expected, within the target and
    a third of the reserve above it.

    need = max(ceil((sessions + buffer) / (capacity x target)),
               ceil((sessions + expected arrivals + buffer) / (capacity x (target + (1 - target) / 3))))
    """
    wanted = situation.spec.autoscaling.sessions
    target, arrivals = wanted.target_utilization_percent, expected_arrivals(situation, sessions)
    now = needed_replicas(sessions + wanted.buffer, capacity, target)
    soon = needed_with_expected(sessions + arrivals + wanted.buffer, capacity, target)
    need = max(now, soon)
    ahead = soon > now
    extra = f" and {arrivals} more expected" if ahead else ""
    buffer = f", {wanted.buffer} free ones to keep" if wanted.buffer else ""
    share = f"{(100 + 2 * target) / 3 if ahead else target:.0f} % of {capacity} a replica"
    verb = "needs" if sessions == 1 and not extra else "need"
    message = f"{counted(sessions, 'session')}{extra}{buffer} {verb} {counted(need, 'replica')} at {share}"
    return Proposal(Reason.SESSIONS_NEED_CAPACITY, need, message)


def no_free_session(situation: Situation) -> Proposal | None:
    """Every serving pod is at its own limit: the next client will be refused. Starting replicas bring free slots."""
    pods = situation.serving
    if situation.step_pending or not pods or not all(_is_full(situation, pod) for pod in pods):
        return None
    return Proposal(
        Reason.NO_FREE_SESSION, situation.n + 1, f"all sessions of {counted(len(pods), 'replica')} are taken"
    )


def _is_full(situation: Situation, pod: PodFacts) -> bool:
    sessions, capacity = situation.sessions_on(pod), situation.of(pod).capacity
    limit = situation.spec.sessions.max_per_replica if capacity is None else capacity
    return sessions is not None and sessions >= limit
