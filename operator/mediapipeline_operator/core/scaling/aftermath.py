"""The state that the next tick starts from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mediapipeline_operator.api.spec import Engine, Mode
from mediapipeline_operator.core.scaling import drain, limits
from mediapipeline_operator.core.scaling.feedback import step_taken
from mediapipeline_operator.core.scaling.law import Choice
from mediapipeline_operator.core.scaling.limits import rate_lifts_at
from mediapipeline_operator.core.scaling.model import FeedbackStep, HistoryEntry
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import DecisionAction, Limit
from mediapipeline_operator.core.scaling.removal import healthy_due_at
from mediapipeline_operator.core.scaling.state import HISTORY_LENGTH, MESSAGE_LENGTH, ScalingState, stamp


def is_carried_out(reading: Reading) -> bool:
    """Whether a decision moves anything: not while paused, not in Advisory mode."""
    spec = reading.situation.spec
    return not spec.paused and not (
        spec.autoscaling.engine is Engine.OPERATOR and spec.autoscaling.mode is Mode.ADVISORY
    )


def moves(reading: Reading, choice: Choice, action: DecisionAction) -> bool:
    return choice.action is action and is_carried_out(reading)


@dataclass(frozen=True, slots=True)
class Timers:
    """The timers after a decision."""

    breach_since: datetime | None
    healthy_since: datetime | None
    rejected_since: datetime | None
    last_scale_up: datetime | None
    last_scale_down: datetime | None


def timers_after(reading: Reading, choice: Choice) -> Timers:
    """Each step restarts what led to it: its effect must be seen for the full time before the next one.

    Down after up, or down after down, needs a full scaleDown.forSeconds too: one replica in two minutes, not in a tick.
    """
    before, now = reading.situation.before, stamp(reading.situation.now)
    went_up = moves(reading, choice, DecisionAction.UP)
    went_down = moves(reading, choice, DecisionAction.DOWN)
    restart = (went_up or went_down) and reading.healthy_since is not None
    return Timers(
        breach_since=None if went_up else reading.breach_since,
        healthy_since=now if restart else reading.healthy_since,
        rejected_since=None if went_up else reading.rejected_since,
        last_scale_up=now if went_up else before.last_scale_up,
        last_scale_down=now if went_down else before.last_scale_down,
    )


def current_entry(reading: Reading, choice: Choice, message: str) -> HistoryEntry:
    """The decision of this tick. One that only repeats the last keeps its id and time: "holds since"."""
    situation, last = reading.situation, reading.situation.before.current
    time = stamp(situation.now)
    same = last is not None and (last.action, last.from_replicas, last.to_replicas, last.reason) == (
        choice.action,
        situation.n,
        choice.to,
        choice.reason,
    )
    repeats = same and (choice.action is DecisionAction.HOLD or not is_carried_out(reading))
    return HistoryEntry(
        id=last.id if last and repeats else _name(time, choice, situation.n),
        time=last.time if last and repeats else time,
        action=choice.action,
        from_replicas=situation.n,
        to_replicas=choice.to,
        reason=choice.reason,
        message=message[:MESSAGE_LENGTH],
    )


def _name(time: datetime, choice: Choice, n: int) -> str:
    return f"{time:%Y%m%dT%H%M%SZ}-{choice.action.value.lower()}-{n}-{choice.to}"


def history_after(reading: Reading, entry: HistoryEntry) -> tuple[HistoryEntry, ...]:
    """The last decisions that changed something (or, in Advisory mode, would have)."""
    history = reading.situation.before.history
    known = any(old.id == entry.id for old in history)
    if entry.action is DecisionAction.HOLD or (known and not is_carried_out(reading)):
        return history
    return (*history, entry)[-HISTORY_LENGTH:]


def state_after(reading: Reading, choice: Choice, entry: HistoryEntry, notices: tuple[str, ...]) -> ScalingState:
    timers, situation = timers_after(reading, choice), reading.situation
    return ScalingState(
        data_state=reading.data_state,
        data_state_since=reading.data_state_since,
        unknown_since=reading.unknown_since,
        breach_since=timers.breach_since,
        healthy_since=timers.healthy_since,
        rejected_since=timers.rejected_since,
        jump_since=limits.jump_since(situation, max((one.replicas for one in choice.proposals), default=0)),
        last_scale_up=timers.last_scale_up,
        last_scale_down=timers.last_scale_down,
        learned_capacity=reading.learned,
        ineffective_ups=reading.effect.ineffective,
        feedback=_feedback_after(reading, choice),
        drains=drain.records(situation, choice.actions),
        current=entry,
        blocked_by=choice.blocked,
        history=history_after(reading, entry),
        notices=notices,
        engine=situation.before.engine if situation.spec.paused else situation.spec.autoscaling.engine,
        requested=situation.before.requested if situation.spec.paused else situation.spec.replicas,
    )


def _feedback_after(reading: Reading, choice: Choice) -> FeedbackStep | None:
    if choice.feedback_step and is_carried_out(reading):
        return step_taken(reading.situation, reading.sessions)
    return reading.effect.step


def follows_the_law(reading: Reading) -> bool:
    """Whether the rules decide at all, be it only as advice: not while paused, not for another engine."""
    spec = reading.situation.spec
    return not spec.paused and spec.autoscaling.engine is Engine.OPERATOR


def next_scale_up(reading: Reading, choice: Choice) -> datetime | None:
    """When the latency rule may add a replica at the earliest, if what it sees goes on; None: nothing asks for one."""
    if not follows_the_law(reading):
        return None
    now = stamp(reading.situation.now)
    wait = timedelta(seconds=reading.situation.spec.autoscaling.latency.scale_up.for_seconds)
    if choice.action is DecisionAction.UP:
        return now + wait
    if reading.breach_since is None:
        return None
    times = [now, reading.breach_since + wait]
    lifts = rate_lifts_at(reading.situation)
    if Limit.RATE in choice.limited and lifts is not None:
        times.append(lifts)
    return max(times)


def next_scale_down(reading: Reading, choice: Choice) -> datetime | None:
    """When the waiting time is over, if latency stays low; None: it is not low, nobody knows, or nobody asks."""
    if not follows_the_law(reading):
        return None
    if choice.action in (DecisionAction.UP, DecisionAction.DOWN):
        wait = reading.situation.spec.autoscaling.latency.scale_down.for_seconds
        return stamp(reading.situation.now) + timedelta(seconds=wait)
    return healthy_due_at(reading)
