"""The decision in one sentence, for the log, events and people. Every blocker and every limit has its words here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mediapipeline_operator.core.scaling.aftermath import is_carried_out, next_scale_down, next_scale_up
from mediapipeline_operator.core.scaling.counting import counted
from mediapipeline_operator.core.scaling.law import HELD_BY_DATA, Choice
from mediapipeline_operator.core.scaling.model import PodFacts, Prediction
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import Blocker, DecisionAction, Limit, Reason
from mediapipeline_operator.core.scaling.removal import at_most_used, chance_sessions
from mediapipeline_operator.core.scaling.states import SESSIONS_KNOWN

VERBS = {DecisionAction.UP: "up", DecisionAction.DOWN: "down", DecisionAction.HOLD: "hold"}

BLOCKER_TEXTS: Mapping[Blocker, str] = {
    Blocker.DATA_STATE: "the measurements cannot be trusted",
    Blocker.LATENCY_NOT_LOW: "p95 is not below the lower threshold",
    Blocker.HEALTHY_TOO_SHORT: "p95 has not been low for long enough",
    Blocker.BREACH_TOO_SHORT: "p95 has not been high for long enough",
    Blocker.REPLICAS_STARTING: "replicas are starting",
    Blocker.ROLLOUT_IN_PROGRESS: "a rollout is in progress",
    Blocker.DRAINS_AT_MAXIMUM: "a replica is draining",
    Blocker.SESSIONS_AFTER_REMOVAL: "the sessions would not fit on one replica fewer",
    Blocker.DEVICE_AFTER_REMOVAL: "the devices would be over 80 % busy",
    Blocker.SIGNALS_AFTER_REMOVAL: "a signal would be too close to its target",
    Blocker.SIGNAL_UNKNOWN: "a signal has no value",
    Blocker.DEMAND_REJECTED: "sessions are being refused",
    Blocker.AT_MINIMUM: "it is at minReplicas",
    Blocker.INEFFECTIVE: "the last replicas did not help",
}


def sentence(reading: Reading, choice: Choice) -> str:
    """`up 3→4 because 8.1 % of frames ... (limit 5 % for 30 s); 7.0 of 8 sessions a replica; next change ...`"""
    parts = [f"{_move(reading, choice)} because {choice.message}", _sessions_text(reading), _not_lower(reading, choice)]
    parts += [_limit_text(reading, limit) for limit in choice.limited]
    parts.append(_draining_text(reading, choice))
    parts.append(_next_text(next_scale_up(reading, choice), next_scale_down(reading, choice), reading.situation.now))
    return "; ".join(part for part in parts if part)


def _move(reading: Reading, choice: Choice) -> str:
    """What happens to the number, or to a replica while the number stays."""
    n = reading.situation.n
    numbers = f"{n}" if choice.to == n else f"{n}→{choice.to}"
    done = choice.deed or f"{VERBS.get(choice.action, 'hold')} {numbers}"
    advised = "" if is_carried_out(reading) or done.startswith("hold") else "advised: "
    stay = f", {counted(n, 'replica')} stay," if choice.deed else ""
    return f"{advised}{done}{stay}"


def _sessions_text(reading: Reading) -> str:
    if reading.data_state not in SESSIONS_KNOWN or reading.situation.n == 0:
        return ""
    most = reading.situation.spec.sessions.max_per_replica
    learned = f" (learned capacity {reading.capacity})" if reading.capacity < most else ""
    return f"{reading.sessions / reading.situation.n:.1f} of {most} sessions a replica{learned}"


def _not_lower(reading: Reading, choice: Choice) -> str:
    """Why the number is not lower, where a person would expect that it is."""
    if choice.reason in HELD_BY_DATA.values():
        return "nothing is removed until there are measurements"
    if choice.reason is Reason.WITHIN_TARGETS and Blocker.AT_MINIMUM in choice.blocked:
        return f"not lower: minReplicas is {reading.situation.spec.autoscaling.min_replicas}"
    if choice.reason is not Reason.SCALE_DOWN_BLOCKED:
        return ""
    return "not lower: " + ", ".join(_blocker_text(reading, choice.prediction, word) for word in choice.blocked)


def _blocker_text(reading: Reading, prediction: Prediction | None, blocker: Blocker) -> str:
    if blocker is Blocker.SESSIONS_AFTER_REMOVAL and prediction and prediction.utilization is not None:
        return _after_removal(reading, prediction)
    if blocker is Blocker.DEVICE_AFTER_REMOVAL and prediction and prediction.device_busy is not None:
        busy = 100 * prediction.device_busy
        return f"{counted(prediction.replicas, 'device')} would be {busy:.0f} % busy (limit 80 %)"
    return BLOCKER_TEXTS[blocker]


def _after_removal(reading: Reading, prediction: Prediction) -> str:
    """What n - 1 would carry, with and without what chance may add."""
    target = reading.situation.spec.autoscaling.sessions.target_utilization_percent
    used, most = 100 * (prediction.utilization or 0.0), 100 * (at_most_used(reading, prediction) or 0.0)
    chance = "" if used > target else f", {most:.0f} % with the {chance_sessions(reading)} that chance may add"
    return f"{counted(prediction.replicas, 'replica')} would be {used:.0f} % used{chance} (limit {target} %)"


def _limit_text(reading: Reading, limit: Limit) -> str:
    scaling = reading.situation.spec.autoscaling
    if limit is Limit.MAX_REPLICAS:
        return f"limited by maxReplicas {scaling.max_replicas}"
    if limit is Limit.UNCONFIRMED:
        return "limited to half of the fleet or four more until the next tick confirms it"
    return "limited to double or four more a minute"


def _draining_text(reading: Reading, choice: Choice) -> str:
    """Who is still there on top of the number, and what it waits for."""
    if choice.deed or choice.actions:
        return ""  # it speaks of a drain itself, or changes who drains
    return ", ".join(_drain_text(reading, pod) for pod in reading.situation.marked)


def _drain_text(reading: Reading, pod: PodFacts) -> str:
    sessions = reading.situation.sessions_on(pod)
    return f"{pod.name} drains with {'unknown sessions' if sessions is None else counted(sessions, 'session')} left"


def _next_text(up: datetime | None, down: datetime | None, now: datetime) -> str:
    times = [time for time in (up, down) if time is not None and time > now]
    return f"next change not before {min(times):%H:%M:%S}" if times else ""
