"""Which waiting frames go to the device together. Pure: time and estimates are arguments.

The device never waits for a fuller batch: sessions have random phases, so waiting for "all" of them would cost up to a
frame interval. Frames are batched only because they queued up while the device was busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mediapod.engine.estimate import Size

BATCH_LIMIT = 16

Estimate = Callable[[Size, int], float]


class Waiting(NamedTuple):
    """What the choice needs to know of a frame: its (height, width) and its deadline in seconds."""

    size: Size
    deadline: float


class Choice(NamedTuple):
    """Indices into the queue: what to launch now, and what can no longer be finished in time."""

    launch: tuple[int, ...]
    expired: tuple[int, ...]


def choose_batch(queue: Sequence[Waiting], now: float, estimate: Estimate, limit: int = BATCH_LIMIT) -> Choice:
    """Return the batch to launch at `now`, most urgent frame first, and the frames to give up.

    estimate(size, count) -> expected seconds of a batch. A frame expires when even a batch of its own would end past
    its deadline. The batch holds one size only and ends within the deadline of each of its frames; its first frame is
    the most urgent of all sizes, so that no size can starve another.
    """
    by_urgency = sorted(range(len(queue)), key=lambda index: (queue[index].deadline, index))
    alive = [i for i in by_urgency if now + estimate(queue[i].size, 1) <= queue[i].deadline]
    expired = tuple(sorted(set(by_urgency) - set(alive)))
    if not alive:
        return Choice((), expired)
    first = queue[alive[0]]
    candidates = [i for i in alive if queue[i].size == first.size][:limit]
    while len(candidates) > 1 and now + estimate(first.size, len(candidates)) > first.deadline:
        candidates.pop()
    return Choice(tuple(candidates), expired)
