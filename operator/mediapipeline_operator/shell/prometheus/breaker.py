"""A circuit breaker: after three failed batches in a row, one probe at a time instead of a dozen time-outs a tick."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

FAILURES = 3
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 30.0


class Gate(Enum):
    CLOSED = "closed"  # all queries may go
    HALF_OPEN = "half-open"  # one query goes ahead as a probe
    OPEN = "open"  # none goes


class Breaker:
    """`monotonic` gives seconds. Pauses double up to half a minute, so that a recovery is seen soon."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._open_until = 0.0

    def gate(self) -> Gate:
        if self._failures < FAILURES:
            return Gate.CLOSED
        return Gate.OPEN if self._monotonic() < self._open_until else Gate.HALF_OPEN

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        doublings = max(0, min(self._failures - FAILURES, 10))
        self._open_until = self._monotonic() + min(FIRST_PAUSE_SECONDS * 2**doublings, LONGEST_PAUSE_SECONDS)
