"""Sessions: how many there are, and how many one replica carries within the objective."""

from __future__ import annotations

import math
from collections.abc import Callable

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling.model import PodFacts
from mediapipeline_operator.core.scaling.reasons import DataState
from mediapipeline_operator.core.scaling.situation import MISS_LIMIT, Situation, exceeds

GOOD_MISS = 0.01  # a load with less than this missed is carried well


def capacity_per_replica(spec: MediaPipelineSpec, learned: int | None) -> int:
    """min(maxPerReplica, learned). Admission alone may promise more than the device keeps."""
    limit = spec.sessions.max_per_replica
    return limit if learned is None else max(1, min(limit, learned))


def counted_sessions(situation: Situation, data_state: DataState, capacity: int) -> int:
    """Sessions on serving pods; those on draining and terminating pods end where they are.

    A pod that should report and does not counts as full when data is Partial (it may be silent because it is), else as
    the mean of the others. A pod that has just become ready counts with what is known of it.
    """
    known = {pod.name: situation.sessions_on(pod) for pod in situation.unmarked if _has_answer(situation, pod)}
    values = [value for value in known.values() if value is not None]
    mean = math.ceil(sum(values) / len(values)) if values else 0
    substitute = capacity if data_state is DataState.PARTIAL else mean
    silent = sum(1 for pod in situation.settled if known.get(pod.name) is None)
    return sum(values) + silent * substitute


def _has_answer(situation: Situation, pod: PodFacts) -> bool:
    return pod.sessions is not None or situation.is_fresh(pod)


def learn(situation: Situation, breached: bool) -> int | None:
    """The highest load carried with under 1 % missed. It binds only once a breach has shown that there is a limit.

    Naive: "highest load seen so far" from the first tick. A fleet that has only ever seen one session a replica would
    then be sized at one session a replica. So a lasting breach sets it, and each pod that carries more raises it.
    """
    learned, most = situation.before.learned_capacity, situation.spec.sessions.max_per_replica
    good = max(_loads(situation, _carries_well), default=0) if _is_steady(situation) else 0
    bad = min(_loads(situation, _fails), default=None) if breached else None
    if bad is not None:
        return min(most, max(least_learned(most), good, min(bad - 1, learned or most)))
    return learned if learned is None else min(most, max(learned, good))


def least_learned(max_per_replica: int) -> int:
    """Half of the admission limit. A breach with another cause (a busy node) must not shrink a replica to one session:
    nothing would ever be seen to carry more again, and the fleet would never be lowered."""
    return -(-max_per_replica // 2)


def _is_steady(situation: Situation) -> bool:
    """While sessions grow, the rates of the window still tell of the lower load before."""
    return (situation.signals.sessions_growth_per_second or 0.0) <= 0


def _carries_well(miss: float) -> bool:
    return miss < GOOD_MISS


def _fails(miss: float) -> bool:
    return exceeds(miss, MISS_LIMIT)


def _loads(situation: Situation, accept: Callable[[float], bool]) -> list[int]:
    """Sessions of the reporting pods whose miss is accepted."""
    pairs = ((situation.pod_miss(pod), situation.sessions_on(pod)) for pod in situation.reporting)
    return [sessions for miss, sessions in pairs if miss is not None and sessions and accept(miss)]
