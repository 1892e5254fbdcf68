"""The gauges `mediapipeline_autoscaler_*`: name, labels, value. Runtime adds namespace and pipeline, and publishes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mediapipeline_operator.core.scaling import drain
from mediapipeline_operator.core.scaling.explain import by_reason
from mediapipeline_operator.core.scaling.law import Choice, fallback_active
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import DataState, Limit
from mediapipeline_operator.core.scaling.states import MEASURED

PREFIX = "mediapipeline_autoscaler_"
Gauge = tuple[str, Mapping[str, str], float]


def gauges(reading: Reading, choice: Choice, signals: list[dict[str, Any]]) -> tuple[Gauge, ...]:
    """All gauges of one pipeline. What is unknown is absent: a gauge at 0 would be a claim."""
    situation = reading.situation
    found: list[Gauge] = [
        (f"{PREFIX}serving_replicas", {}, situation.n),
        (f"{PREFIX}desired_replicas", {}, choice.to),
        (f"{PREFIX}draining_replicas", {}, len(situation.marked)),
        (f"{PREFIX}starting_replicas", {}, len(situation.starting)),
        (f"{PREFIX}fallback_active", {}, float(fallback_active(reading))),
        (f"{PREFIX}capacity_exhausted", {}, float(Limit.MAX_REPLICAS in choice.limited)),
        (f"{PREFIX}capacity_sessions_per_replica", {}, reading.capacity),
        (f"{PREFIX}ineffective_scale_ups", {}, reading.effect.ineffective),
    ]
    found += [(f"{PREFIX}data_state", {"state": word.value}, float(word is reading.data_state)) for word in DataState]
    found += [
        (f"{PREFIX}proposal_replicas", {"reason": word}, replicas)
        for word, replicas in by_reason(choice.proposals).items()
    ]
    found += [(f"{PREFIX}blocked", {"direction": "Down", "reason": word.value}, 1) for word in choice.blocked]
    found += [
        (f"{PREFIX}signal_value", {"signal": row["name"], "unit": row["unit"]}, row["value"])
        for row in signals
        if "value" in row
    ]
    return (*found, *_drains(reading), *_measured(reading, choice))


def _drains(reading: Reading) -> list[Gauge]:
    """The longest running drain, and the sessions that all of them wait for; nothing while nothing drains."""
    situation = reading.situation
    if not situation.marked:
        return []
    seconds = max((situation.now - drain.started_at(situation, pod)).total_seconds() for pod in situation.marked)
    known = [sessions for pod in situation.marked if (sessions := situation.sessions_on(pod)) is not None]
    found: list[Gauge] = [(f"{PREFIX}drain_seconds", {}, max(0.0, seconds))]
    return found + ([(f"{PREFIX}drain_sessions", {}, sum(known))] if len(known) == len(situation.marked) else [])


def _measured(reading: Reading, choice: Choice) -> list[Gauge]:
    situation, prediction = reading.situation, choice.prediction
    found: list[Gauge] = []
    if situation.ages_seconds:
        found.append((f"{PREFIX}signal_age_seconds", {}, max(situation.ages_seconds)))
    if reading.data_state in MEASURED and situation.miss_upper is not None:
        found.append((f"{PREFIX}missed_share", {}, situation.miss_upper))
    if prediction is not None and prediction.utilization is not None:
        found.append((f"{PREFIX}predicted_utilization_after_removal", {}, prediction.utilization))
    return found
