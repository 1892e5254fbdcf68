"""The clairvoyant lower bound: what nobody can beat, computed from the whole load in advance.

Assumptions, all in favour of the bound: it knows every arrival and length; sessions move between replicas at any time
and are packed perfectly; replicas start in the shortest start-up of the model and leave at once; devices never idle. At
least these many replicas exist at t, for a run that misses and rejects nothing:

    bound(t) = max over s in [t, t + shortest start-up] of max(min, ceil(sessions(s) / maxPerReplica), ceil(busy(s)))

where busy(s) is the device time that the frames of second s need, and everything is clamped to maxReplicas.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.simulation.loads import Load
from mediapipeline_operator.core.simulation.score import Score
from mediapipeline_operator.core.simulation.world import Surroundings

SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Bound:
    """`replica_hours` for a run without losses; `work_seconds` of replicas for the work alone, without any rounding."""

    replica_hours: float
    work_seconds: float
    seconds_per_session: float  # of a replica, for a second of a session
    replicas: tuple[int, ...]


class BeatenBoundError(AssertionError):
    """A run was cheaper than possible: the simulator is wrong."""


def demand_of(load: Load) -> tuple[list[int], list[int]]:
    """(sessions, frames a second) that are wanted in each second, as the audience counts them."""
    size = load.duration_seconds + 1
    sessions, frames = [0] * (size + 1), [0] * (size + 1)
    for visit in load.visits:
        start, end = math.ceil(visit.arrival), min(math.ceil(visit.end), size)
        if start < min(end, size):
            for series, amount in ((sessions, 1), (frames, visit.frames_per_second)):
                series[start] += amount
                series[end] -= amount
    return _sums(sessions)[: load.duration_seconds], _sums(frames)[: load.duration_seconds]


def clairvoyant(spec: MediaPipelineSpec, load: Load, around: Surroundings) -> Bound:
    """The bound of one load in its surroundings."""
    sessions, frames = demand_of(load)
    per_replica, scaling = spec.sessions.max_per_replica, spec.autoscaling
    work = [
        max(count / per_replica, rate * around.service_seconds) for count, rate in zip(sessions, frames, strict=True)
    ]
    need = [min(max(scaling.min_replicas, math.ceil(w - SLACK)), scaling.max_replicas) for w in work]
    replicas = ahead(need, math.floor(around.cluster.fastest_startup_seconds))
    dearest = max(1 / per_replica, max((v.frames_per_second for v in load.visits), default=0) * around.service_seconds)
    return Bound(sum(replicas) / 3600, sum(work), dearest, tuple(replicas))


def ahead(values: list[int], seconds: int) -> list[int]:
    """The highest of each value and those of the next `seconds`."""
    found, window = [0] * len(values), deque[int]()
    for index in range(len(values) - 1, -1, -1):
        while window and values[window[-1]] <= values[index]:
            window.pop()
        window.append(index)
        while window[0] > index + seconds:
            window.popleft()
        found[index] = values[window[0]]
    return found


def check(bound: Bound, score: Score, around: Surroundings) -> None:
    """Raises BeatenBoundError if a run did its work with fewer replicas than the work takes.

    What a run lost is added to what it paid: missed frames with their device time, absent sessions with their dearest
    second. A run without any loss must also not be under the whole bound.
    """
    lost = score.missed * around.service_seconds + score.absent_seconds * bound.seconds_per_session
    if score.pod_seconds + lost < bound.work_seconds * (1 - SLACK) - 1:
        raise BeatenBoundError(
            f"{score.pod_seconds:.0f} replica-seconds and {lost:.0f} lost, {bound.work_seconds:.0f} are needed"
        )
    clean = score.missed_share < SLACK and score.absent_seconds == 0
    if clean and score.replica_hours < bound.replica_hours - SLACK:
        raise BeatenBoundError(f"{score.replica_hours:.3f} replica-hours, the bound is {bound.replica_hours:.3f}")


def _sums(changes: list[int]) -> list[int]:
    total, sums = 0, []
    for change in changes:
        total += change
        sums.append(total)
    return sums
