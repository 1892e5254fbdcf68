"""How long the next piece of work will take, judged by the last ones."""

from __future__ import annotations

import threading

_WEIGHT_OF_NEWEST = 0.2
_DECAY_OF_A_REFUSAL = 0.9


class ServiceTime:
    """Exponentially weighted mean of service times in seconds; 0 until the first one is known. Thread-safe.

    A refusal lowers it: otherwise one stall (a first call that compiles, a suspended machine) could push the
    estimate past every deadline, after which nothing would run and nothing would ever correct it.
    """

    def __init__(self) -> None:
        self._seconds: float | None = None
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Expected seconds of the next piece of work."""
        return self._seconds or 0.0

    def observe(self, seconds: float) -> None:
        """Take one finished piece of work into account."""
        with self._lock:
            old = seconds if self._seconds is None else self._seconds
            self._seconds = old + _WEIGHT_OF_NEWEST * (seconds - old)

    def refuse(self) -> None:
        """Note that work was refused because of this estimate."""
        with self._lock:
            if self._seconds is not None:
                self._seconds *= _DECAY_OF_A_REFUSAL
