"""When one replica may leave. A low p95 is necessary, not sufficient: latency is flat, and at saturation vertical."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mediapipeline_operator.core.scaling import votes
from mediapipeline_operator.core.scaling.feedforward import expected_arrivals, straying
from mediapipeline_operator.core.scaling.model import Prediction
from mediapipeline_operator.core.scaling.reasons import Blocker, DataState
from mediapipeline_operator.core.scaling.situation import Situation, exceeds
from mediapipeline_operator.core.scaling.states import LOWERING

if TYPE_CHECKING:
    from mediapipeline_operator.core.scaling.reading import Reading

ROOM_FOR_CHANCE = 2.0  # square roots of the count of sessions: two standard deviations of a count that strays
DEVICE_LIMIT = 0.80  # periodic frames: p95 is flat up to here, and seconds just above 1
ROLLOUT_STUCK = timedelta(minutes=10)  # a rollout without progress freezes nothing


def healthy_for_seconds(reading: Reading) -> int:
    """How long p95 must be low: twice as long where there are few frames to judge by."""
    wait = reading.situation.spec.autoscaling.latency.scale_down.for_seconds
    return 2 * wait if reading.data_state is DataState.LOW_SAMPLE else wait


def healthy_due_at(reading: Reading) -> datetime | None:
    if reading.healthy_since is None:
        return None
    return reading.healthy_since + timedelta(seconds=healthy_for_seconds(reading))


def predict(reading: Reading) -> Prediction | None:
    """The fleet with one replica fewer: same sessions (and those expected), same device time, on n - 1."""
    situation, left = reading.situation, reading.situation.n - 1
    if left < 1 or reading.data_state in (DataState.STARTING, DataState.STALE, DataState.MISSING):
        return None  # a prediction from nothing would say that nothing is needed
    arrivals = expected_arrivals(situation, reading.sessions)
    load = reading.sessions + arrivals + situation.spec.autoscaling.sessions.buffer
    busy = [share for pod in situation.reporting if (share := situation.of(pod).busy_share) is not None]
    return Prediction(left, load / (left * reading.capacity), sum(busy) / left if busy else None)


def chance_sessions(reading: Reading) -> int:
    """Sessions that chance may add before the fleet could answer: removal leaves room for them, or they call the
    replica back.

    A share of the target (ten points, say) is too little for few sessions and too much for many: 9 independent sessions
    stray by 3 and become 15 within two deviations, 100 become 120.
    """
    return math.ceil(ROOM_FOR_CHANCE * straying(reading.sessions) - 1e-9)


def rollout_freezes(situation: Situation) -> bool:
    """The surge of a rollout looks like spare capacity, and is about to go."""
    since = situation.workload.rollout_since
    if not situation.workload.rollout_in_progress:
        return False
    return since is None or situation.now < since + ROLLOUT_STUCK


def removal_blockers(reading: Reading, prediction: Prediction | None) -> tuple[Blocker, ...]:
    """Everything that forbids the start of a drain, all of it, so that nobody fixes one thing to meet the next.

    `prediction`: what `predict` gives.
    """
    situation = reading.situation
    checks = (
        (Blocker.DATA_STATE, reading.data_state not in LOWERING),
        (Blocker.AT_MINIMUM, situation.n <= situation.spec.autoscaling.min_replicas),
        (Blocker.LATENCY_NOT_LOW, reading.data_state in LOWERING and reading.healthy_since is None),
        (Blocker.HEALTHY_TOO_SHORT, _too_short(reading)),
        (Blocker.REPLICAS_STARTING, situation.step_pending),
        (Blocker.ROLLOUT_IN_PROGRESS, rollout_freezes(situation)),
        (Blocker.DRAINS_AT_MAXIMUM, len(situation.marked) >= situation.spec.autoscaling.drain.max_parallel),
        (Blocker.DEMAND_REJECTED, reading.rejected_since is not None),
        (Blocker.SIGNAL_UNKNOWN, votes.is_unknown(situation)),
        (Blocker.SIGNALS_AFTER_REMOVAL, votes.forbids_removal(situation)),
        *_prediction_blockers(reading, prediction),
    )
    return tuple(blocker for blocker, holds in checks if holds)


def _too_short(reading: Reading) -> bool:
    due = healthy_due_at(reading)
    return due is not None and reading.situation.now < due


def _prediction_blockers(reading: Reading, prediction: Prediction | None) -> tuple[tuple[Blocker, bool], ...]:
    """n - 1 must stay within the target utilisation when chance adds its part, and clear of saturation."""
    if prediction is None:
        return ((Blocker.SESSIONS_AFTER_REMOVAL, reading.sessions > 0),)
    target = reading.situation.spec.autoscaling.sessions.target_utilization_percent / 100
    return (
        (Blocker.SESSIONS_AFTER_REMOVAL, exceeds(at_most_used(reading, prediction), target)),
        (Blocker.DEVICE_AFTER_REMOVAL, exceeds(prediction.device_busy, DEVICE_LIMIT)),
    )


def at_most_used(reading: Reading, prediction: Prediction) -> float | None:
    """Utilisation of the predicted fleet when chance has added its part."""
    if prediction.utilization is None:
        return None
    return prediction.utilization + chance_sessions(reading) / (prediction.replicas * reading.capacity)
