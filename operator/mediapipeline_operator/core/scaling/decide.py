"""decide(): one tick of scaling, pure. The operator, the simulator and the tests run this same function."""

from __future__ import annotations

from datetime import datetime

from mediapipeline_operator.api.spec import Engine, MediaPipelineSpec
from mediapipeline_operator.core.scaling import (
    aftermath,
    conditions,
    drain,
    explain,
    manual,
    notices,
    schedules,
    wording,
)
from mediapipeline_operator.core.scaling.law import Choice, choose
from mediapipeline_operator.core.scaling.model import Action, Decision, SetReplicas, Signals, WorkloadFacts
from mediapipeline_operator.core.scaling.outcome import Outcome
from mediapipeline_operator.core.scaling.reading import Reading, read
from mediapipeline_operator.core.scaling.situation import Situation
from mediapipeline_operator.core.scaling.state import ScalingState, stamp

LOG_EVERY_SECONDS = 300


def decide(
    spec: MediaPipelineSpec,
    workload: WorkloadFacts,
    signals: Signals,
    state: ScalingState,
    now: datetime,
    *,
    tick_seconds: float,
    log_offset_seconds: float = 0.0,
) -> Outcome:
    """What to do about the number of replicas, and why.

    `now` is timezone-aware and is rounded up to whole seconds; `tick_seconds` is the usual time between two calls (more
    calls in between are harmless: every rule counts seconds, none counts calls). `log_offset_seconds`: when in each
    five minutes the log says that nothing has changed. Never raises on odd measurements.
    """
    now = stamp(now)
    situation = Situation(schedules.bounded(spec, now), workload, signals, state.not_after(now), now, tick_seconds)
    reading = read(situation)
    return _outcome(reading, _choice(reading), log_offset_seconds)


def _choice(reading: Reading) -> Choice:
    spec = reading.situation.spec
    if spec.paused:
        return manual.paused(reading)
    if spec.autoscaling.engine is not Engine.OPERATOR:
        return manual.requested(reading)
    if not aftermath.is_carried_out(reading):
        return manual.advisory(reading)
    return choose(reading)


def _outcome(reading: Reading, choice: Choice, log_offset_seconds: float) -> Outcome:
    situation = reading.situation
    text = wording.sentence(reading, choice)
    entry = aftermath.current_entry(reading, choice, text)
    record = explain.decision(reading, choice, entry)
    standing = notices.standing(reading, choice, text)
    state = aftermath.state_after(reading, choice, entry, tuple(sorted(standing)))
    return Outcome(
        reading=reading,
        choice=choice,
        decision=record,
        state=state,
        actions=_actions(reading, choice),
        conditions=conditions.conditions(reading, choice, text),
        events=notices.events(reading, choice, standing, text),
        text=text,
        log_due=_log_due(situation, state, record, log_offset_seconds),
        wants_admin=drain.to_ask(situation.workload.pods),
    )


def _actions(reading: Reading, choice: Choice) -> tuple[Action, ...]:
    """The chosen actions, then the re-asserted marks of pods that they do not touch."""
    touched = {action.uid for action in choice.actions if not isinstance(action, SetReplicas)}
    if not aftermath.is_carried_out(reading):
        return choice.actions
    return (*choice.actions, *(action for action in drain.reassert(reading.situation) if action.uid not in touched))


def _log_due(situation: Situation, state: ScalingState, record: Decision, offset_seconds: float) -> bool:
    """On a change of action, reason, data state or blockers, and every five minutes."""
    before = situation.before
    changed = (
        before.current is None
        or before.current.id != record.id
        or before.data_state is not state.data_state
        or before.blocked_by != record.blocked_by
    )
    seconds = situation.now.timestamp() + offset_seconds
    return changed or seconds // LOG_EVERY_SECONDS != (seconds - situation.tick_seconds) // LOG_EVERY_SECONDS
