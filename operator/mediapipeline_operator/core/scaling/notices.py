"""Events, on change only. A notice is something that holds now; an event is posted when one appears or goes."""

from __future__ import annotations

from mediapipeline_operator.api.reasons import EventReason
from mediapipeline_operator.api.spec import Engine
from mediapipeline_operator.core.scaling import drain
from mediapipeline_operator.core.scaling.aftermath import is_carried_out, moves
from mediapipeline_operator.core.scaling.feedback import breach_due
from mediapipeline_operator.core.scaling.law import Choice, fallback_active
from mediapipeline_operator.core.scaling.model import EventInput, MarkDraining, SetReplicas, Unmark
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import Blocker, DataState, DecisionAction, Limit, Reason
from mediapipeline_operator.core.scaling.states import WARN_AFTER_SECONDS

Notices = dict[str, EventInput]  # the key is what must change for a new event

WORTH_AN_EVENT = frozenset({Blocker.SESSIONS_AFTER_REMOVAL, Blocker.DEVICE_AFTER_REMOVAL, Blocker.ROLLOUT_IN_PROGRESS})
METRICS = frozenset({EventReason.METRICS_MISSING.value, EventReason.METRICS_STALE.value})
ENDINGS = {
    EventReason.FALLBACK_ACTIVATED.value: EventReason.FALLBACK_DEACTIVATED,
    EventReason.AUTOSCALING_PAUSED.value: EventReason.AUTOSCALING_RESUMED,
}


def standing(reading: Reading, choice: Choice, text: str) -> Notices:
    """Everything that holds in this tick and is worth an event when it begins."""
    found: Notices = {}
    if choice.reason is Reason.PAUSED:
        _add(found, EventReason.AUTOSCALING_PAUSED, "running drains are undone and nothing is scaled", warning=False)
        return found
    _add_drains(found, reading)
    if reading.situation.spec.autoscaling.engine is Engine.NONE:
        return found
    _add_metrics(found, reading)
    _add_up(found, reading, choice, text)
    _add_down(found, choice, text)
    if choice.action is not DecisionAction.HOLD and not is_carried_out(reading):
        _add(
            found, EventReason.ADVISORY_RECOMMENDATION, text, warning=False, detail=f"{choice.action.value}/{choice.to}"
        )
    return found


def _add(found: Notices, reason: EventReason, message: str, *, warning: bool, detail: str = "") -> None:
    found[f"{reason.value}/{detail}" if detail else reason.value] = EventInput(reason, warning, message)


def _add_metrics(found: Notices, reading: Reading) -> None:
    if reading.unknown_seconds >= WARN_AFTER_SECONDS:
        stale = reading.data_state is DataState.STALE
        reason = EventReason.METRICS_STALE if stale else EventReason.METRICS_MISSING
        _add(found, reason, f"{reading.verdict.message}; nothing is scaled down", warning=True)
    if fallback_active(reading):
        replicas = reading.situation.spec.autoscaling.fallback.replicas
        _add(
            found, EventReason.FALLBACK_ACTIVATED, f"at least {replicas} replicas until metrics are back", warning=True
        )
    if reading.data_state is DataState.STARTING:
        for kept in METRICS.intersection(reading.situation.before.notices):
            _add(found, EventReason(kept), reading.verdict.message, warning=True)


def _add_up(found: Notices, reading: Reading, choice: Choice, text: str) -> None:
    if reading.effect.exhausted:
        _add(found, EventReason.SCALE_UP_INEFFECTIVE, text, warning=True)
    if choice.reason is Reason.CAPACITY_EXHAUSTED or Limit.MAX_REPLICAS in choice.limited:
        _add(found, EventReason.CAPACITY_EXHAUSTED, text, warning=True)
    elif _is_held_by_rate(reading, choice):
        _add(found, EventReason.SCALE_UP_BLOCKED, text, warning=True, detail=Limit.RATE.value)


def _is_held_by_rate(reading: Reading, choice: Choice) -> bool:
    held = choice.action is DecisionAction.HOLD and Limit.RATE in choice.limited
    return held and breach_due(reading.situation, reading.breach_since)


def _add_down(found: Notices, choice: Choice, text: str) -> None:
    if choice.reason is Reason.SCALE_DOWN_BLOCKED:
        words = sorted(word.value for word in WORTH_AN_EVENT.intersection(choice.blocked))
        if words:
            _add(found, EventReason.SCALE_DOWN_BLOCKED, text, warning=False, detail=",".join(words))


def _add_drains(found: Notices, reading: Reading) -> None:
    situation = reading.situation
    for pod in situation.marked:
        if drain.is_timed_out(situation, pod):
            left = situation.sessions_on(pod)
            action = situation.spec.autoscaling.drain.on_timeout.value
            message = f"{pod.name} still has {'unknown' if left is None else left} sessions; onTimeout is {action}"
            _add(found, EventReason.DRAIN_TIMED_OUT, message, warning=True, detail=pod.uid)


def events(reading: Reading, choice: Choice, found: Notices, text: str) -> tuple[EventInput, ...]:
    """What began, what ended, and what was done in this tick."""
    before = reading.situation.before.notices
    begun = [event for key, event in found.items() if key not in before]
    return (*begun, *_ended(reading, found), *_done(reading, choice, text), *_gone(reading))


def _ended(reading: Reading, found: Notices) -> list[EventInput]:
    before = set(reading.situation.before.notices)
    ended = [
        EventInput(reason, False, reading.verdict.message)
        for key, reason in ENDINGS.items()
        if key in before and key not in found
    ]
    if before & METRICS and not METRICS.intersection(found):
        ended.append(EventInput(EventReason.METRICS_RECOVERED, False, reading.verdict.message))
    return ended


def _done(reading: Reading, choice: Choice, text: str) -> list[EventInput]:
    done = []
    if moves(reading, choice, DecisionAction.UP):
        done.append(EventInput(EventReason.SCALED_UP, False, text))
    for action in choice.actions:
        if isinstance(action, MarkDraining):
            done.append(EventInput(EventReason.DRAIN_STARTED, False, text))
        elif isinstance(action, Unmark):
            done.append(EventInput(EventReason.DRAIN_CANCELLED, False, f"{action.pod} serves again: {text}"))
        elif isinstance(action, SetReplicas) and action.to < action.expect:
            done.append(EventInput(EventReason.SCALED_DOWN, False, f"{text}; Deployment {action.expect}→{action.to}"))
    return done


def _gone(reading: Reading) -> list[EventInput]:
    """Drains whose pod has left: as planned, or on its own."""
    live = {pod.uid for pod in reading.situation.live}
    gone = [record for record in reading.situation.before.drains if record.uid not in live]
    return [
        EventInput(EventReason.DRAIN_COMPLETED, False, f"{record.pod} has gone")
        if record.removing
        else EventInput(EventReason.DRAIN_CANCELLED, False, f"{record.pod} went away while it drained")
        for record in gone
    ]
