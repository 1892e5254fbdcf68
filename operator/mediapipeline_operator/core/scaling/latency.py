"""p95 against the two thresholds, by the source of latency that the pipeline chose.

Frame and Request: by the missed share, exact at bounds of the histogram. Query: by the number that the query gives.
"""

from __future__ import annotations

from datetime import datetime

from mediapipeline_operator.api.spec import LatencySource
from mediapipeline_operator.core.scaling.situation import MISS_LIMIT, Situation, exceeds

SEVERE_MISS = 0.20


def by_query(situation: Situation) -> bool:
    return situation.spec.autoscaling.latency.source is LatencySource.QUERY


def is_known(situation: Situation) -> bool:
    """Whether there is something to compare with the upper threshold."""
    return (situation.queried_milliseconds if by_query(situation) else situation.miss_upper) is not None


def is_high(situation: Situation) -> bool:
    """p95 > t <=> miss(t) > 5 %, exactly, where t is a bound of the histogram."""
    if by_query(situation):
        above = situation.spec.autoscaling.latency.scale_up.above_milliseconds
        return exceeds(situation.queried_milliseconds, above)
    return exceeds(situation.miss_upper, MISS_LIMIT)


def is_low(situation: Situation) -> bool:
    """Whether p95 is known to be below the lower threshold."""
    if by_query(situation):
        value, below = situation.queried_milliseconds, situation.spec.autoscaling.latency.scale_down.below_milliseconds
        return value is not None and value < below
    return situation.miss_lower is not None and not exceeds(situation.miss_lower, MISS_LIMIT)


def is_severe(situation: Situation) -> bool:
    """Over 20 % missed. Never by a query: how far a number is above the threshold is no gain (a quantile saturates)."""
    return not by_query(situation) and exceeds(situation.miss_upper, SEVERE_MISS)


def severity_per_mille(situation: Situation) -> int:
    """What a step of the feedback must lower: the worst pod's missed share; by a query, the part above."""
    if by_query(situation):
        value = situation.queried_milliseconds or 0.0
        above = situation.spec.autoscaling.latency.scale_up.above_milliseconds
        return round(1000 * max(0.0, 1.0 - above / value)) if value > 0 else 0
    worst = situation.worst_pod_miss
    return round(1000 * (situation.miss_upper or 0.0 if worst is None else worst))


def high_text(situation: Situation, since: datetime | None) -> str:
    """The numbers of a breach, for people."""
    up = situation.spec.autoscaling.latency.scale_up
    seconds = 0 if since is None else max(0, int((situation.now - since).total_seconds()))
    if by_query(situation):
        value = situation.queried_milliseconds or 0.0
        limit = f"limit {up.above_milliseconds} ms for {up.for_seconds} s"
        return f"p95 by the query was {value:.0f} ms, above the limit for {seconds} s ({limit})"
    missed = f"{100 * (situation.miss_upper or 0):.1f} % of {_late_words(situation)} {up.above_milliseconds} ms"
    return f"{missed} for {seconds} s (limit 5 % for {up.for_seconds} s)"


def _late_words(situation: Situation) -> str:
    if situation.spec.autoscaling.latency.source is LatencySource.REQUEST:
        return "requests took over"
    return "frames were missed or over"
