"""The conditions that scaling knows about."""

from __future__ import annotations

from mediapipeline_operator.api.reasons import ConditionType
from mediapipeline_operator.api.spec import Engine
from mediapipeline_operator.core.scaling.aftermath import is_carried_out
from mediapipeline_operator.core.scaling.law import Choice
from mediapipeline_operator.core.scaling.model import ConditionInput
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import DataState, Limit, Reason
from mediapipeline_operator.core.scaling.states import BLIND, UNKNOWN, WARN_AFTER_SECONDS


def conditions(reading: Reading, choice: Choice, text: str) -> tuple[ConditionInput, ...]:
    return (
        _scaling_active(reading, choice),
        _scaling_limited(reading, choice, text),
        _metrics_available(reading),
        _draining(reading),
    )


def _scaling_active(reading: Reading, choice: Choice) -> ConditionInput:
    kind = ConditionType.SCALING_ACTIVE
    if choice.reason is Reason.PAUSED:
        return ConditionInput(kind, False, "Paused", "spec.paused is true")
    engine = reading.situation.spec.autoscaling.engine
    if engine is Engine.NONE:
        return ConditionInput(kind, False, "EngineNone", "spec.replicas decides")
    if engine is not Engine.OPERATOR:
        return ConditionInput(kind, True, "Delegated", f"{engine.value} sets spec.replicas; drains carry it out")
    if not is_carried_out(reading):
        return ConditionInput(kind, False, "Advisory", "decisions are published and not carried out")
    if reading.data_state in BLIND and reading.unknown_seconds >= WARN_AFTER_SECONDS:
        return ConditionInput(kind, False, reading.verdict.reason, reading.verdict.message)
    return ConditionInput(kind, True, "Deciding", f"policy {reading.situation.spec.autoscaling.policy.value}")


def _scaling_limited(reading: Reading, choice: Choice, text: str) -> ConditionInput:
    kind = ConditionType.SCALING_LIMITED
    if Limit.MAX_REPLICAS in choice.limited:
        return ConditionInput(kind, True, "CapacityExhausted", text)
    if reading.effect.exhausted:
        return ConditionInput(kind, True, "ScaleUpIneffective", text)
    if Limit.RATE in choice.limited:
        return ConditionInput(kind, True, "RateLimited", text)
    if Limit.UNCONFIRMED in choice.limited:
        return ConditionInput(kind, True, "Unconfirmed", text)
    return ConditionInput(kind, False, "WithinLimits", "no limit cuts the wanted number")


def _metrics_available(reading: Reading) -> ConditionInput:
    """One lost scrape is no change of a condition; sixty seconds of them are."""
    kind, verdict = ConditionType.METRICS_AVAILABLE, reading.verdict
    if reading.data_state is DataState.STARTING:
        return ConditionInput(kind, None, verdict.reason, verdict.message)
    if reading.data_state not in UNKNOWN:
        return ConditionInput(kind, True, verdict.reason, verdict.message)
    if reading.unknown_seconds < WARN_AFTER_SECONDS:
        return ConditionInput(kind, True, "Late", verdict.message)
    return ConditionInput(kind, False, PROBLEMS.get(reading.data_state, verdict.reason), verdict.message)


PROBLEMS = {DataState.STALE: "MetricsStale"}


def _draining(reading: Reading) -> ConditionInput:
    situation = reading.situation
    if not situation.marked:
        return ConditionInput(ConditionType.DRAINING, False, "NoReplicaDraining", "no replica is draining")
    parts = []
    for pod in situation.marked:
        sessions = situation.sessions_on(pod)
        parts.append(f"{pod.name} ({'unknown' if sessions is None else sessions} sessions)")
    return ConditionInput(ConditionType.DRAINING, True, "ReplicaDraining", ", ".join(parts))
