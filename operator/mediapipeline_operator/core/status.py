"""Snapshot and findings -> status, and when a status is worth a write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.reasons import ConditionType, EventReason
from mediapipeline_operator.core.conditions import Condition, merged
from mediapipeline_operator.core.engines import conflict_text, hands_off
from mediapipeline_operator.core.health import conditions
from mediapipeline_operator.core.model import DeploymentState, EventNote, Findings, Snapshot
from mediapipeline_operator.core.resources import BuildSettings, autoscaler_kind, initial_replicas, resolved_image
from mediapipeline_operator.core.scaling.outcome import Outcome

Json = dict[str, Any]
MEASUREMENTS_EVERY_SECONDS = 60.0
_FROM_SCALING = frozenset(
    {
        ConditionType.SCALING_ACTIVE,
        ConditionType.SCALING_LIMITED,
        ConditionType.METRICS_AVAILABLE,
        ConditionType.DRAINING,
    }
)
_OVERRULED = frozenset({ConditionType.READY, ConditionType.STALLED, ConditionType.RECONCILING})
_COMPOUND = (dict, list, tuple)
_MEASURED_TIMES = frozenset({"observedTime", "nextEligible"})


def status(snapshot: Snapshot, findings: Findings, outcome: Outcome | None, settings: BuildSettings) -> Json:
    """The whole status after a pass. Without an outcome, what scaling wrote before stays.

    A pass that was not finished has observed no new generation: who waits for that (kstatus does) wants its children.
    """
    pipeline, old = snapshot.pipeline, snapshot.pipeline.status
    generation = old.get("observedGeneration", 0) if findings.unfinished else pipeline.generation
    current = (*conditions(snapshot, findings), *_scaling_conditions(snapshot, outcome))
    body: Json = {
        "observedGeneration": generation,
        "selector": ",".join(f"{key}={value}" for key, value in labels.selector(pipeline.key.name).items()),
        "image": resolved_image(pipeline.spec, settings),
        **_replicas(snapshot.deployment),
        "desiredReplicas": _desired_replicas(snapshot, outcome),
        "endpoints": {"signalling": f"http://{pipeline.key.name}.{pipeline.key.namespace}.svc:{labels.HTTP_PORT}"},
        **_scaling(old, outcome),
        "conditions": merged(old.get("conditions") or (), current, generation=generation, now=snapshot.now),
    }
    known: Json = _without_empty(body)
    return known


def _without_empty(value: Any) -> Any:
    """Left out, not empty: server-side apply turns an object whose last field goes away into null, which is invalid."""
    if isinstance(value, dict):
        parts = ((key, _without_empty(item) if isinstance(item, _COMPOUND) else item) for key, item in value.items())
        return {key: item for key, item in parts if item or (item is not None and not isinstance(item, _COMPOUND))}
    return [_without_empty(item) for item in value] if isinstance(value, _COMPOUND) else value


def unreadable_status(old: Mapping[str, Any], generation: int, message: str, now: datetime) -> Json:
    """The status of a resource whose spec cannot be read: all as before, but stalled."""
    kept = [item for item in old.get("conditions") or () if item["type"] not in _OVERRULED]
    current = (
        *(_read_back(item) for item in kept),
        Condition(ConditionType.READY, False, "InvalidPipeline", message),
        Condition(ConditionType.STALLED, True, "InvalidPipeline", message),
    )
    known = merged(old.get("conditions") or (), current, generation=generation, now=now)
    return {**old, "observedGeneration": generation, "conditions": known}


def announcements(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[EventNote]:
    """Events for what the pipeline's author has to mend, when it is new or has changed."""
    for kind in (ConditionType.STALLED, ConditionType.CONFLICTING_AUTOSCALER):
        before, now = _true_condition(old, kind), _true_condition(new, kind)
        if now and [now.get("reason"), now.get("message")] != [before.get("reason"), before.get("message")]:
            yield EventNote(EventReason(now["reason"]), "Warning", now["message"])


def write_due(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    seconds_since_write: float,
    measurements_every_seconds: float = MEASUREMENTS_EVERY_SECONDS,
) -> bool:
    """At once for what people and a restarted operator rely on; for mere measurements only so often."""
    if _significant(old) != _significant(new):
        return True
    return seconds_since_write >= measurements_every_seconds and _without_times(old) != _without_times(new)


def _replicas(deployment: DeploymentState | None) -> Json:
    if deployment is None:
        return {"replicas": 0, "readyReplicas": 0, "updatedReplicas": 0}
    return {
        "replicas": deployment.current,
        "readyReplicas": deployment.ready,
        "updatedReplicas": deployment.updated,
    }


def _desired_replicas(snapshot: Snapshot, outcome: Outcome | None) -> int:
    if outcome is not None:
        return outcome.desired_replicas
    known = snapshot.pipeline.status.get("desiredReplicas")
    return known if isinstance(known, int) else initial_replicas(snapshot.pipeline.spec)


def _scaling(old: Mapping[str, Any], outcome: Outcome | None) -> Json:
    if outcome is None:
        return {name: old.get(name) for name in ("autoscaling", "sessions", "latency")}
    return {
        "autoscaling": dict(outcome.autoscaling_status),
        "sessions": dict(outcome.sessions_status),
        "latency": dict(outcome.latency_status),
    }


def _scaling_conditions(snapshot: Snapshot, outcome: Outcome | None) -> tuple[Condition, ...]:
    old = snapshot.pipeline.status.get("conditions") or ()
    if outcome is None:
        return tuple(_read_back(item) for item in old if item["type"] in _FROM_SCALING)
    found = (Condition(item.type, item.status, item.reason, item.message) for item in outcome.conditions)
    return tuple(_passive(one, snapshot) if one.type is ConditionType.SCALING_ACTIVE else one for one in found)


def _passive(active: Condition, snapshot: Snapshot) -> Condition:
    """Scaling that somebody else does, or that waits for its autoscaler, is not active."""
    if hands_off(snapshot):
        return Condition(active.type, False, "ConflictingAutoscaler", conflict_text(snapshot))
    kind = autoscaler_kind(snapshot.pipeline.spec.autoscaling.engine)
    if kind is not None and kind in snapshot.unavailable:
        return Condition(active.type, False, "KindUnavailable", f"{kind}: {snapshot.unavailable[kind]}")
    return active


def _read_back(item: Mapping[str, Any]) -> Condition:
    truth = {"True": True, "False": False}.get(item["status"])
    return Condition(ConditionType(item["type"]), truth, item["reason"], item.get("message", ""))


def _true_condition(body: Mapping[str, Any], kind: ConditionType) -> Mapping[str, Any]:
    conditions = body.get("conditions") or ()
    return next((item for item in conditions if item["type"] == kind and item["status"] == "True"), {})


def _significant(body: Mapping[str, Any]) -> Json:
    scaling = body.get("autoscaling") or {}
    decision = scaling.get("decision") or {}
    plain = ("observedGeneration", "selector", "image", "replicas", "readyReplicas", "updatedReplicas")
    return {
        **{name: body.get(name) for name in (*plain, "desiredReplicas", "endpoints")},
        **{name: scaling.get(name) for name in ("summary", "dataState", "timers", "ineffectiveScaleUps", "notices")},
        "decision": [decision.get(name) for name in ("action", "from", "to", "reason")],
        "drains": [_drain(drain) for drain in scaling.get("drains") or ()],
        "conditions": [_condition(item) for item in body.get("conditions") or ()],
    }


def _drain(drain: Mapping[str, Any]) -> Json:
    return {name: value for name, value in drain.items() if name != "sessions"}


def _condition(item: Mapping[str, Any]) -> list[Any]:
    """Messages hold numbers that move with every measurement; what a message says in words is in the reason."""
    return [item.get(name) for name in ("type", "status", "reason", "observedGeneration")]


def _without_times(value: Any) -> Any:
    """The same without the times of measurements: a value that was measured again is the same value."""
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in _MEASURED_TIMES}
    if isinstance(value, list | tuple):
        return [_without_times(item) for item in value]
    return value
