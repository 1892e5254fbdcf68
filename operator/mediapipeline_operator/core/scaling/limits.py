"""Bounds and rates: how far and how fast a proposal may move the number of serving replicas."""

from __future__ import annotations

from datetime import datetime, timedelta

from mediapipeline_operator.core.scaling.model import HistoryEntry
from mediapipeline_operator.core.scaling.reasons import DecisionAction, Limit
from mediapipeline_operator.core.scaling.situation import Situation

RATE_WINDOW = timedelta(seconds=60)
STEP_PER_MINUTE = 4


def bounds(situation: Situation) -> tuple[int, int]:
    """(fewest, most) serving replicas."""
    scaling = situation.spec.autoscaling
    return scaling.min_replicas, scaling.max_replicas


def rate_ceiling(situation: Situation) -> int:
    """Double or four more than a minute ago, whichever is more: a wrong signal cannot fill the cluster in one tick."""
    base = min([situation.n, *(entry.from_replicas for entry in _recent_ups(situation))])
    return max(2 * base, base + STEP_PER_MINUTE)


def _recent_ups(situation: Situation) -> list[HistoryEntry]:
    oldest = situation.now - RATE_WINDOW
    return [entry for entry in situation.before.history if entry.action is DecisionAction.UP and entry.time > oldest]


def rate_lifts_at(situation: Situation) -> datetime | None:
    """When the oldest step of the last minute stops counting."""
    return min((entry.time + RATE_WINDOW for entry in _recent_ups(situation)), default=None)


def limit_up(situation: Situation, wanted: int) -> tuple[int, tuple[Limit, ...]]:
    """`wanted` within rate and maximum, with what cut it. Never below n, and the minimum is no matter of rates."""
    fewest, most = bounds(situation)
    limited: list[Limit] = []
    allowed = wanted
    if allowed > max(rate_ceiling(situation), fewest):
        allowed = max(rate_ceiling(situation), fewest)
        limited.append(Limit.RATE)
    if allowed > most:
        allowed = most
        limited.append(Limit.MAX_REPLICAS)
    return max(allowed, situation.n), tuple(limited)
