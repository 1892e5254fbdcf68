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
    """Growth of the last two minutes, continued until a replica that is asked for now would serve. Never negative.

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


def feed_forward(situation: Situation, sessions: int, capacity: int) -> Proposal:
    """need = ceil((sessions + expected arrivals + buffer) / (capacity x target utilisation))."""
    target = situation.spec.autoscaling.sessions
    arrivals = expected_arrivals(situation, sessions)
    need = needed_replicas(sessions + arrivals + target.buffer, capacity, target.target_utilization_percent)
    extra = f" and {arrivals} more expected" if arrivals else ""
    buffer = f", {target.buffer} free ones to keep" if target.buffer else ""
    share = f"{target.target_utilization_percent} % of {capacity} a replica"
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
