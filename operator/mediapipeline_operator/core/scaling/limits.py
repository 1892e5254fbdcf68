"""Bounds and rates: how far and how fast a proposal may move the number of serving replicas."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from mediapipeline_operator.core.scaling.model import HistoryEntry
from mediapipeline_operator.core.scaling.reasons import DecisionAction, Limit
from mediapipeline_operator.core.scaling.situation import Situation
from mediapipeline_operator.core.scaling.state import stamp

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


def largest_usual_step(situation: Situation) -> int:
    """Four replicas or half of the fleet, whichever is more."""
    return max(STEP_PER_MINUTE, math.ceil(situation.n / 2))


def jump_since(situation: Situation, wanted: int) -> datetime | None:
    """Since when a larger step than that is asked for, without a break."""
    if wanted <= situation.n + largest_usual_step(situation):
        return None
    return situation.before.jump_since or stamp(situation.now)


def _is_confirmed(situation: Situation) -> bool:
    """Asked for in the tick before as well: one absurd sample must not double a large fleet."""
    since = situation.before.jump_since
    return since is not None and situation.now >= since + timedelta(seconds=0.9 * situation.tick_seconds)


def limit_up(situation: Situation, wanted: int) -> tuple[int, tuple[Limit, ...]]:
    """`wanted` within rate and maximum, with what cut it. Never below n, and the minimum is no matter of rates."""
    fewest, most = bounds(situation)
    limited: list[Limit] = []
    allowed = wanted
    if allowed > max(rate_ceiling(situation), fewest):
        allowed = max(rate_ceiling(situation), fewest)
        limited.append(Limit.RATE)
    usual = max(situation.n + largest_usual_step(situation), fewest)
    if allowed > usual and not _is_confirmed(situation):
        allowed = usual
        limited.append(Limit.UNCONFIRMED)
    if allowed > most:
        allowed = most
        limited.append(Limit.MAX_REPLICAS)
    return max(allowed, situation.n), tuple(limited)
