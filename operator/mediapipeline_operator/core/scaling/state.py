"""What scaling remembers between two ticks. It lives in status.autoscaling alone.

Every time is kept in whole seconds, rounded up when it is taken: what is read back from status equals
what was in memory (a restarted operator knows the same), and no wait ever becomes shorter than asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, TypeVar

from mediapipeline_operator.api.spec import Engine
from mediapipeline_operator.core.scaling.model import DrainRecord, FeedbackStep, HistoryEntry
from mediapipeline_operator.core.scaling.reasons import Blocker, DataState, DecisionAction, Reason

Word = TypeVar("Word", bound=StrEnum)

HISTORY_LENGTH = 10
MESSAGE_LENGTH = 256


def stamp(now: datetime) -> datetime:
    """`now` rounded up to whole seconds, in UTC."""
    if now.tzinfo is UTC and not now.microsecond:
        return now
    whole = now.astimezone(UTC).replace(microsecond=0)
    return whole if whole == now else whole + timedelta(seconds=1)


def rfc3339(time: datetime) -> str:
    """The form of times in Kubernetes objects."""
    return time.astimezone(UTC).isoformat()[:19] + "Z"


@dataclass(frozen=True, slots=True)
class ScalingState:
    """Timers, drains and the last decisions of one pipeline."""

    data_state: DataState | None = None
    data_state_since: datetime | None = None
    unknown_since: datetime | None = None  # since when the data is Partial, Stale or Missing
    breach_since: datetime | None = None  # since when p95 is above the upper threshold
    healthy_since: datetime | None = None  # since when p95 is below the lower one
    rejected_since: datetime | None = None  # since when offers are refused for lack of capacity
    jump_since: datetime | None = None  # since when an unusually large step is asked for
    last_scale_up: datetime | None = None
    last_scale_down: datetime | None = None
    learned_capacity: int | None = None
    ineffective_ups: int = 0
    feedback: FeedbackStep | None = None
    drains: tuple[DrainRecord, ...] = ()
    current: HistoryEntry | None = None
    blocked_by: tuple[Blocker, ...] = ()
    history: tuple[HistoryEntry, ...] = ()  # newest last; in status newest first
    engine: Engine | None = None  # that decided last; None: nobody has
    requested: int | None = None  # spec.replicas at that time
    notices: tuple[str, ...] = ()  # what has been announced by an event and still holds

    @classmethod
    def from_status(cls, status: Mapping[str, Any]) -> ScalingState:
        """Reads a resource's whole `status`. Values that make no sense are forgotten: scale-downs wait longer."""
        scaling = _mapping(status.get("autoscaling"))
        timers = _mapping(scaling.get("timers"))
        decision = _mapping(scaling.get("decision"))
        return cls(
            data_state=_word(DataState, scaling.get("dataState")),
            data_state_since=_time(timers.get("dataStateSince")),
            unknown_since=_time(timers.get("unknownSince")),
            breach_since=_time(timers.get("breachSince")),
            healthy_since=_time(timers.get("healthySince")),
            rejected_since=_time(timers.get("rejectedSince")),
            jump_since=_time(timers.get("jumpSince")),
            last_scale_up=_time(timers.get("lastScaleUpTime")),
            last_scale_down=_time(timers.get("lastScaleDownTime")),
            learned_capacity=_positive(scaling.get("learnedCapacity")),
            ineffective_ups=_positive(scaling.get("ineffectiveScaleUps")) or 0,
            feedback=_feedback(_mapping(scaling.get("feedback"))),
            drains=tuple(filter(None, map(_drain, _items(scaling.get("drains"))))),
            current=_entry(decision),
            blocked_by=tuple(filter(None, (_word(Blocker, word) for word in _sequence(decision.get("blockedBy"))))),
            history=tuple(filter(None, map(_entry, reversed(_items(scaling.get("history"))))))[-HISTORY_LENGTH:],
            engine=_word(Engine, scaling.get("engine")),
            requested=_number(scaling.get("requestedReplicas")),
            notices=tuple(str(notice) for notice in _sequence(scaling.get("notices"))),
        )

    def not_after(self, now: datetime) -> ScalingState:
        """The same without times in the future, which come from an operator whose clock was ahead: every wait that
        began then would last longer by that, and steps would count as recent.
        """
        if not any(time > now for time in self._all_times()):
            return self  # the usual case, thousands of times a tick
        times: dict[str, Any] = {
            name: now for name in _TIMES if (time := getattr(self, name)) is not None and time > now
        }
        current = self.current and replace(self.current, time=min(self.current.time, now))
        drains = tuple(replace(one, started=min(one.started, now)) for one in self.drains)
        history = tuple(replace(one, time=min(one.time, now)) for one in self.history)
        return replace(self, **times, current=current, drains=drains, history=history)

    def _all_times(self) -> Iterator[datetime]:
        yield from (time for time in _TIMES_OF(self) if time is not None)
        if self.current is not None:
            yield self.current.time
        yield from (one.started for one in self.drains)
        yield from (one.time for one in self.history)

    def to_status(self) -> dict[str, Any]:
        """The part of status.autoscaling that `from_status` reads back; absent values are left out."""
        decision = entry_json(self.current) if self.current else {}
        return _without_none(
            dataState=self.data_state.value if self.data_state else None,
            timers=self.timers(),
            learnedCapacity=self.learned_capacity,
            ineffectiveScaleUps=self.ineffective_ups,
            feedback=None if self.feedback is None else _feedback_json(self.feedback),
            drains=[drain_json(drain) for drain in self.drains],
            decision=decision | {"blockedBy": [word.value for word in self.blocked_by]} if decision else None,
            history=[entry_json(entry) for entry in reversed(self.history)],
            engine=self.engine.value if self.engine else None,
            requestedReplicas=self.requested,
            notices=list(self.notices),
        )

    def timers(self) -> dict[str, str]:
        """Those that run, by their names in status."""
        times = {
            "breachSince": self.breach_since,
            "healthySince": self.healthy_since,
            "rejectedSince": self.rejected_since,
            "unknownSince": self.unknown_since,
            "jumpSince": self.jump_since,
            "dataStateSince": self.data_state_since,
            "lastScaleUpTime": self.last_scale_up,
            "lastScaleDownTime": self.last_scale_down,
        }
        return {name: rfc3339(time) for name, time in times.items() if time is not None}


_TIMES = (
    "data_state_since",
    "unknown_since",
    "breach_since",
    "healthy_since",
    "rejected_since",
    "jump_since",
    "last_scale_up",
    "last_scale_down",
)
_TIMES_OF = attrgetter(*_TIMES)


def entry_json(entry: HistoryEntry) -> dict[str, Any]:
    """One decision as in status.autoscaling.history."""
    return {
        "id": entry.id,
        "time": rfc3339(entry.time),
        "action": entry.action.value,
        "from": entry.from_replicas,
        "to": entry.to_replicas,
        "reason": entry.reason.value,
        "message": entry.message[:MESSAGE_LENGTH],
    }


def _entry(value: Mapping[str, Any]) -> HistoryEntry | None:
    time, action = _time(value.get("time")), _word(DecisionAction, value.get("action"))
    reason = _word(Reason, value.get("reason"))
    start, end = value.get("from"), value.get("to")
    if time is None or action is None or reason is None or not isinstance(start, int) or not isinstance(end, int):
        return None
    message = str(value.get("message", ""))[:MESSAGE_LENGTH]
    return HistoryEntry(str(value.get("id", "")), time, action, start, end, reason, message)


def _drain(value: Mapping[str, Any]) -> DrainRecord | None:
    started = _time(value.get("startedTime"))
    if started is None or not value.get("uid"):
        return None
    sessions = value.get("sessions")
    return DrainRecord(
        pod=str(value.get("pod", "")),
        uid=str(value["uid"]),
        started=started,
        sessions=sessions if isinstance(sessions, int) else None,
        removing=value.get("phase") == "Removing",
    )


def drain_json(drain: DrainRecord) -> dict[str, Any]:
    """One drain as in status.autoscaling.drains."""
    return _without_none(
        pod=drain.pod,
        uid=drain.uid,
        startedTime=rfc3339(drain.started),
        sessions=drain.sessions,
        phase="Removing" if drain.removing else "Draining",
    )


def _feedback(value: Mapping[str, Any]) -> FeedbackStep | None:
    miss, sessions = value.get("missPerMille"), value.get("sessions")
    return FeedbackStep(miss, sessions) if isinstance(miss, int) and isinstance(sessions, int) else None


def _feedback_json(step: FeedbackStep) -> dict[str, int]:
    return {"missPerMille": step.miss_per_mille, "sessions": step.sessions}


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in _sequence(value) if isinstance(item, Mapping)]


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return stamp(time if time.tzinfo else time.replace(tzinfo=UTC))


def _word(kind: type[Word], value: Any) -> Word | None:
    try:
        return kind(value)
    except ValueError:
        return None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
