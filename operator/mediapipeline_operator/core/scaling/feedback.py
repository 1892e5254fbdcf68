"""Latency corrects: bounded steps while p95 is above the upper threshold, and a guard against steps without effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from mediapipeline_operator.core.scaling.model import FeedbackStep, Proposal
from mediapipeline_operator.core.scaling.reasons import DataState, Reason
from mediapipeline_operator.core.scaling.situation import MISS_LIMIT, Situation, exceeds
from mediapipeline_operator.core.scaling.state import stamp
from mediapipeline_operator.core.scaling.states import BLIND, MEASURED

SEVERE_MISS = 0.20
IMPROVED = 0.9  # a step helped if the missed share fell below this share of what it was
INEFFECTIVE_LIMIT = 2


def breach_since(situation: Situation, data_state: DataState) -> datetime | None:
    """Since when p95 > scaleUp.aboveMilliseconds. One tick without data pauses the timer, a longer gap ends it."""
    before = situation.before.breach_since
    if data_state in MEASURED:
        return (before or stamp(situation.now)) if is_breach(situation) else None
    gap = situation.before.unknown_since
    short = gap is None or (situation.now - gap).total_seconds() <= 1.5 * situation.tick_seconds
    return before if data_state in BLIND and short else None


def is_breach(situation: Situation) -> bool:
    """p95 > t <=> miss(t) > 5 %, exactly, since t is a bound of the histogram."""
    return exceeds(situation.miss_upper, MISS_LIMIT)


def breach_due(situation: Situation, since: datetime | None) -> bool:
    wait = situation.spec.autoscaling.latency.scale_up.for_seconds
    return since is not None and situation.now >= since + timedelta(seconds=wait)


def step_size(n: int, miss: float) -> int:
    """One, or half of the fleet when over 20 % is missed. The quantile's magnitude is no gain: it saturates."""
    return max(1, math.ceil(n / 2)) if exceeds(miss, SEVERE_MISS) else 1


def feedback(situation: Situation, since: datetime | None, data_state: DataState) -> Proposal | None:
    """The step that a lasting breach asks for; none while replicas of an earlier step are on their way."""
    miss = situation.miss_upper
    if data_state not in MEASURED or miss is None or not breach_due(situation, since) or situation.step_pending:
        return None
    reason = Reason.LATENCY_VERY_HIGH if exceeds(miss, SEVERE_MISS) else Reason.LATENCY_HIGH
    return Proposal(reason, situation.n + step_size(situation.n, miss), breach_text(situation, since))


def breach_text(situation: Situation, since: datetime | None) -> str:
    """The numbers of a breach, for people."""
    up = situation.spec.autoscaling.latency.scale_up
    seconds = 0 if since is None else max(0, int((situation.now - since).total_seconds()))
    return (
        f"{100 * (situation.miss_upper or 0):.1f} % of frames were missed or over {up.above_milliseconds} ms "
        f"for {seconds} s (limit 5 % for {up.for_seconds} s)"
    )


@dataclass(frozen=True, slots=True)
class Effect:
    """How the steps of the latency feedback have worked so far."""

    ineffective: int
    step: FeedbackStep | None

    @property
    def exhausted(self) -> bool:
        return self.ineffective >= INEFFECTIVE_LIMIT


def judge_last_step(situation: Situation, data_state: DataState, due: Proposal | None, utilization: float) -> Effect:
    """Counts a step as ineffective when the next one is due, the worst pod has not improved and the fleet has room.

    Example: one hot sticky pod. New replicas take new sessions only, its missed share stays, and a law that goes on
    adding ends at maxReplicas with empty pods. The worst pod, not the fleet: the fleet's share falls by mere dilution.
    A fleet above its target utilisation needs the replicas anyway. Re-armed as soon as the breach is over.
    """
    before = situation.before
    if data_state in MEASURED and not is_breach(situation):
        return Effect(0, None)
    if due is None or before.feedback is None or before.ineffective_ups >= INEFFECTIVE_LIMIT:
        return Effect(before.ineffective_ups, before.feedback)
    if _worst_per_mille(situation) < IMPROVED * before.feedback.miss_per_mille:
        return Effect(0, before.feedback)
    full = exceeds(utilization, situation.spec.autoscaling.sessions.target_utilization_percent / 100)
    return Effect(before.ineffective_ups + (not full), before.feedback)


def _worst_per_mille(situation: Situation) -> int:
    worst = situation.worst_pod_miss
    return round(1000 * (worst if worst is not None else situation.miss_upper or 0.0))


def step_taken(situation: Situation, sessions: int) -> FeedbackStep:
    """What to compare with when the next step is due."""
    return FeedbackStep(_worst_per_mille(situation), sessions)
