"""Snapshot and findings -> status, and when a status is worth a write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.reasons import ConditionType, EventReason
from mediapipeline_operator.core.conditions import WORDS, Condition, merged, shown
from mediapipeline_operator.core.derived import derived
from mediapipeline_operator.core.engines import conflict_text, hands_off
from mediapipeline_operator.core.health import conditions
from mediapipeline_operator.core.model import DeploymentState, EventNote, Findings, Snapshot
from mediapipeline_operator.core.resources import BuildSettings, autoscaler_kind, initial_replicas, resolved_image
from mediapipeline_operator.core.scaling.outcome import Outcome
from mediapipeline_operator.core.scaling.state import drain_json

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
_ANNOUNCED = (ConditionType.STALLED, ConditionType.CONFLICTING_AUTOSCALER)
_COMPOUND = (dict, list, tuple)
_MEASURED_TIMES = frozenset({"observedTime", "nextEligible"})


class Report:
    """The status after a pass. Without an outcome, what scaling wrote before stays.

    A pass that was not finished has observed no new generation: who waits for that (kstatus does) wants its children.
    Most passes write none: for these only `significant` is made, and not the whole `body`.
    """

    def __init__(
        self, snapshot: Snapshot, findings: Findings, outcome: Outcome | None, settings: BuildSettings
    ) -> None:
        self._snapshot = snapshot
        self._findings = findings
        self._outcome = outcome
        self._settings = settings

    @derived
    def significant(self) -> bytes:
        """What `significant(self.body)` gives."""
        scaling = _scaling_significance(self._snapshot.pipeline.status, self._outcome)
        conditions = [
            [item.type.value, WORDS[item.status], item.reason, self._generation] for item in shown(self._current)
        ]
        return _compared({**self._plain, **scaling, "conditions": conditions})

    @derived
    def body(self) -> Json:
        """All of it."""
        scaling = _scaling(self._snapshot.pipeline.status, self._outcome)
        body: Json = _without_empty({**self._plain, **scaling, "conditions": self.conditions})
        return body

    @derived
    def conditions(self) -> list[Json]:
        snapshot = self._snapshot
        old = snapshot.pipeline.status.get("conditions") or ()
        return merged(old, self._current, generation=self._generation, now=snapshot.now)

    @derived
    def _current(self) -> tuple[Condition, ...]:
        return (*conditions(self._snapshot, self._findings), *_scaling_conditions(self._snapshot, self._outcome))

    @property
    def announcements(self) -> tuple[EventNote, ...]:
        """What `announcements` gives for this status after the one that is there."""
        if not any(item.status and item.type in _ANNOUNCED for item in self._current):
            return ()
        return tuple(announcements(self._snapshot.pipeline.status, {"conditions": self.conditions}))

    @property
    def may_wait(self) -> bool:
        """Whether a restart in between would lose nothing: all that scaling starts from is in the status that is there,
        all was applied, and nothing is announced, which would be announced again.
        """
        old = self._snapshot.pipeline.status
        decided = _compared(_scaling_significance(old, self._outcome))
        complete = not (self._findings.failed or self._findings.unfinished or self.announcements)
        return complete and decided == _compared(_written_significance(old.get("autoscaling") or {}))

    @property
    def _generation(self) -> int:
        pipeline = self._snapshot.pipeline
        return pipeline.status.get("observedGeneration", 0) if self._findings.unfinished else pipeline.generation

    @derived
    def _plain(self) -> Json:
        snapshot, pipeline = self._snapshot, self._snapshot.pipeline
        return {
            "observedGeneration": self._generation,
            "selector": ",".join(f"{key}={value}" for key, value in labels.selector(pipeline.key.name).items()),
            "image": resolved_image(pipeline.spec, self._settings),
            **_replicas(snapshot.deployment),
            "desiredReplicas": _desired_replicas(snapshot, self._outcome),
            "endpoints": {"signalling": f"http://{pipeline.key.name}.{pipeline.key.namespace}.svc:{labels.HTTP_PORT}"},
        }

    def is_due(self, old_significant: bytes, seconds_since_write: float, measurements_every_seconds: float) -> bool:
        """Whether to write it: at once for what people and a restarted operator rely on; for mere measurements only so
        often. `old_significant`: of the status that is there.
        """
        if old_significant != self.significant:
            return True
        old = self._snapshot.pipeline.status
        return seconds_since_write >= measurements_every_seconds and _without_times(old) != _without_times(self.body)


def status(snapshot: Snapshot, findings: Findings, outcome: Outcome | None, settings: BuildSettings) -> Json:
    """The whole status after a pass."""
    return Report(snapshot, findings, outcome, settings).body


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
    """Events for what the pipeline's author has to mend, when it is new or has changed. Only conditions are read."""
    for kind in _ANNOUNCED:
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
    if significant(old) != significant(new):
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


_PLAIN = (
    "observedGeneration", "selector", "image", "replicas", "readyReplicas", "updatedReplicas", "desiredReplicas",
    "endpoints",
)  # fmt: skip


def significant(body: Mapping[str, Any]) -> bytes:
    """The part of a status whose change is written at once, to be compared with another's and kept for it."""
    found = {
        **{name: body.get(name) for name in _PLAIN},
        **_written_significance(body.get("autoscaling") or {}),
        "conditions": [_condition(item) for item in body.get("conditions") or ()],
    }
    return _compared(found)


def _compared(value: Json) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _written_significance(scaling: Mapping[str, Any]) -> Json:
    """Of status.autoscaling as it is, or would be, written."""
    decision = scaling.get("decision") or {}
    return {
        **{name: scaling.get(name) for name in ("summary", "dataState", "ineffectiveScaleUps")},
        **{name: scaling.get(name) or None for name in ("timers", "notices")},
        "decision": [decision.get(name) for name in ("action", "from", "to", "reason")],
        "drains": [_drain(drain) for drain in scaling.get("drains") or ()],
    }


def _scaling_significance(old: Mapping[str, Any], outcome: Outcome | None) -> Json:
    """The same of an outcome, without its words."""
    if outcome is None:
        return _written_significance(old.get("autoscaling") or {})
    state, entry = outcome.state, outcome.decision
    return {
        "summary": outcome.summary,
        "dataState": outcome.data_state.value,
        "ineffectiveScaleUps": state.ineffective_ups,
        "timers": state.timers() or None,
        "notices": list(state.notices) or None,
        "decision": [entry.action.value, entry.from_replicas, entry.to_replicas, entry.reason.value],
        "drains": [_drain(drain_json(drain)) for drain in state.drains],
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
