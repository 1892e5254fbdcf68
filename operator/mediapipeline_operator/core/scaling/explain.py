"""The decision as a record: in status.autoscaling, in the log line. Its sentence is made in wording.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_MILLISECONDS, LatencySource, SignalType
from mediapipeline_operator.core.scaling import votes
from mediapipeline_operator.core.scaling.aftermath import (
    is_carried_out,
    next_scale_down,
    next_scale_up,
)
from mediapipeline_operator.core.scaling.law import Choice
from mediapipeline_operator.core.scaling.model import Decision, HistoryEntry, Prediction, Proposal
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import DecisionAction, Reason
from mediapipeline_operator.core.scaling.state import ScalingState, rfc3339
from mediapipeline_operator.core.scaling.states import SESSIONS_KNOWN
from mediapipeline_operator.core.scaling.votes import SignalReading


def decision(reading: Reading, choice: Choice, entry: HistoryEntry) -> Decision:
    """The decision record."""
    return Decision(
        id=entry.id,
        time=entry.time,
        action=choice.action,
        from_replicas=entry.from_replicas,
        to_replicas=entry.to_replicas,
        reason=choice.reason,
        message=entry.message,
        limited_by=choice.limited,
        blocked_by=choice.blocked,
        proposals=choice.proposals,
        prediction=choice.prediction,
        next_scale_up=next_scale_up(reading, choice),
        next_scale_down=next_scale_down(reading, choice),
    )


def summary(reading: Reading, choice: Choice) -> str:
    """One CamelCase word for the column SCALING."""
    if choice.reason is Reason.PAUSED:
        return "Paused"
    if not is_carried_out(reading):
        return "Advisory"
    if choice.action is DecisionAction.UP:
        return "ScalingUp"
    if choice.action is not DecisionAction.HOLD or reading.situation.marked:
        return "Draining"
    return SUMMARIES.get(choice.reason, "ScalingUp" if reading.situation.step_pending else "Stable")


SUMMARIES = {
    Reason.STARTING: "Starting",
    Reason.METRICS_PARTIAL: "MetricsPartial",
    Reason.METRICS_STALE: "MetricsStale",
    Reason.METRICS_MISSING: "MetricsMissing",
    Reason.CAPACITY_EXHAUSTED: "CapacityExhausted",
    Reason.SCALE_UP_INEFFECTIVE: "ScaleUpIneffective",
}


def autoscaling_status(reading: Reading, choice: Choice, record: Decision, state: ScalingState) -> dict[str, Any]:
    """status.autoscaling: what the next tick reads back, and what a person reads."""
    kept = state.to_status()
    words = {
        "limitedBy": [word.value for word in record.limited_by],
        "blockedBy": [word.value for word in record.blocked_by],
        "proposals": [_proposal_json(proposal) for proposal in record.proposals],
    }
    if record.prediction is not None:
        words["prediction"] = _prediction_json(record.prediction)
    times = {"scaleUp": record.next_scale_up, "scaleDown": record.next_scale_down}
    return kept | {
        "summary": summary(reading, choice),
        "signals": signals(reading, choice),
        "decision": kept["decision"] | words,
        "nextEligible": {name: rfc3339(time) for name, time in times.items() if time is not None},
    }


def _proposal_json(proposal: Proposal) -> dict[str, Any]:
    return {"reason": proposal.reason.value, "replicas": proposal.replicas, "message": proposal.message}


def _prediction_json(prediction: Prediction) -> dict[str, int]:
    shares = {"utilizationPercent": prediction.utilization, "deviceBusyPercent": prediction.device_busy}
    return {"replicas": prediction.replicas} | {
        name: round(100 * share) for name, share in shares.items() if share is not None
    }


def signals(reading: Reading, choice: Choice) -> list[dict[str, Any]]:
    """The signals as whole numbers with their units. A signal without a value is not 0: its value is left out."""
    situation, latency = reading.situation, reading.situation.spec.autoscaling.latency
    asked = {proposal.reason: proposal.replicas for proposal in choice.proposals}
    low, high = latency.scale_down.below_milliseconds, latency.scale_up.above_milliseconds
    rows = [
        _signal(f"{latency.source.value}Latency", "Milliseconds", situation.p95_milliseconds, low, high),
        _signal(MISSED[latency.source], "Percent", _scaled(situation.miss_upper, 100), None, 5),
        _signal(f"WorstReplica{MISSED[latency.source]}", "Percent", _scaled(situation.worst_pod_miss, 100), None, None),
        _signal("Sessions", "Sessions", _known_sessions(reading), None, situation.n * reading.capacity),
        _signal("DeviceBusy", "Percent", _scaled(_busiest(reading), 100), None, None),
    ]
    feedback = asked.get(Reason.LATENCY_HIGH, asked.get(Reason.LATENCY_VERY_HIGH))
    rows[0] |= {} if feedback is None else {"proposal": feedback}
    need = asked.get(Reason.SESSIONS_NEED_CAPACITY)
    rows[3] |= {} if need is None else {"proposal": need}
    rows += [_voting(one) for one in votes.readings(situation)]
    observed = observed_time(reading)
    return [row | ({"observedTime": observed} if observed and "value" in row else {}) for row in rows]


MISSED = {
    LatencySource.FRAME: "MissedFrames",
    LatencySource.REQUEST: "LateRequests",
    LatencySource.QUERY: "MissedFrames",
}


def _voting(one: SignalReading) -> dict[str, Any]:
    unit = "PerSecond" if one.signal.type is SignalType.REQUESTS_PER_SECOND else "Percent"
    value = None if one.value is None else round(one.value)
    row = _signal(one.signal.type.value, unit, value, None, one.signal.target)
    return row | ({} if one.proposal is None else {"proposal": one.proposal.replicas})


def by_reason(proposals: Iterable[Proposal]) -> dict[str, int]:
    """The largest proposal of each reason: several signals share one."""
    found: dict[str, int] = {}
    for proposal in proposals:
        found[proposal.reason.value] = max(proposal.replicas, found.get(proposal.reason.value, 0))
    return found


def _signal(name: str, unit: str, value: int | None, low: int | None, high: int | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "unit": unit, "value": value, "low": low, "high": high}
    return {key: item for key, item in row.items() if item is not None}


def _scaled(share: float | None, factor: int) -> int | None:
    return None if share is None else round(factor * share)


def _known_sessions(reading: Reading) -> int | None:
    return reading.sessions if reading.data_state in SESSIONS_KNOWN or reading.data_state.value == "Idle" else None


def _busiest(reading: Reading) -> float | None:
    situation = reading.situation
    return max(
        (busy for pod in situation.reporting if (busy := situation.of(pod).busy_share) is not None), default=None
    )


def observed_time(reading: Reading) -> str | None:
    """When the newest of the samples was scraped."""
    ages = reading.situation.ages_seconds
    if not ages:
        return None
    return rfc3339(reading.situation.now - timedelta(seconds=min(ages)))


def latency_status(reading: Reading) -> dict[str, Any]:
    """status.latency; above the top bucket only the summary can tell p95, and without frames there is nothing."""
    situation, observed = reading.situation, observed_time(reading)
    p95, missed = situation.p95_milliseconds, _scaled(situation.miss_upper, 1000)
    if observed is None or (p95 is None and missed is None):
        return {}
    summary = f">{LATENCY_BUCKETS_MILLISECONDS[-1]}ms" if p95 is None else f"{p95}ms"
    known = {"p95Milliseconds": p95, "summary": summary, "missPerMille": missed, "observedTime": observed}
    return {name: value for name, value in known.items() if value is not None}


def sessions_status(reading: Reading) -> dict[str, Any]:
    """status.sessions: all live pods, draining ones included, against the admission limits of the serving ones."""
    situation = reading.situation
    known = [sessions for pod in situation.live if (sessions := situation.sessions_on(pod)) is not None]
    if not known:
        return {}
    active, capacity = sum(known), len(situation.serving) * situation.spec.sessions.max_per_replica
    return {"active": active, "capacity": capacity, "summary": f"{active}/{capacity}"}


def log_fields(reading: Reading, record: Decision) -> Mapping[str, Any]:
    """Fields of the log line; null where a value is unknown, never absent."""
    situation = reading.situation
    return {
        "decision_id": record.id,
        "action": record.action.value,
        "from": record.from_replicas,
        "to": record.to_replicas,
        "reason": record.reason.value,
        "explanation": record.message,
        "data_state": reading.data_state.value,
        "p95_milliseconds": situation.p95_milliseconds,
        "miss_per_mille": _scaled(situation.miss_upper, 1000),
        "sessions": _known_sessions(reading),
        "capacity_per_replica": reading.capacity,
        "draining": len(situation.marked),
        "starting": len(situation.starting),
        "limited_by": [word.value for word in record.limited_by],
        "blocked_by": [word.value for word in record.blocked_by],
        "proposals": by_reason(record.proposals),
        "next_scale_up": None if record.next_scale_up is None else rfc3339(record.next_scale_up),
        "next_scale_down": None if record.next_scale_down is None else rfc3339(record.next_scale_down),
    }
