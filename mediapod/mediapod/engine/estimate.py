"""How long the next piece of work will take, judged by the last ones."""

from __future__ import annotations

import threading

from mediapod.frames.i420 import I420Frame

Size = tuple[int, int]

_WEIGHT_OF_NEWEST = 0.2
_DECAY_OF_A_REFUSAL = 0.9


class ServiceTime:
    """Exponentially weighted mean of service times in seconds; 0 until the first one is known.

    A refusal lowers it: otherwise one stall (a first call that compiles, a suspended machine) could push the
    estimate past every deadline, after which nothing would run and nothing would ever correct it.
    """

    def __init__(self) -> None:
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Expected seconds of the next piece of work."""
        return self._seconds or 0.0

    def observe(self, seconds: float) -> None:
        """Take one finished piece of work into account."""
        old = seconds if self._seconds is None else self._seconds
        self._seconds = old + _WEIGHT_OF_NEWEST * (seconds - old)

    def refuse(self) -> None:
        """Note that work was refused because of this estimate."""
        if self._seconds is not None:
            self._seconds *= _DECAY_OF_A_REFUSAL


class BatchTimes:
    """Expected seconds of a batch by picture size and count, learned from the batches that ran. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[tuple[Size, int], ServiceTime] = {}
        self._lock = threading.Lock()

    def observe(self, size: Size, count: int, seconds: float) -> None:
        """Take one finished batch of `count` pictures of `size` (height, width) into account."""
        with self._lock:
            self._known.setdefault((size, _bucket(count)), ServiceTime()).observe(seconds)

    def estimate(self, size: Size, count: int) -> float:
        """Return the expected seconds, 0 while nothing is known of this size.

        A count that never ran is put at the proportional time of a smaller one, or the time of a larger one, which
        both err on the long side: a device is seldom slower by the picture in a larger batch.
        """
        with self._lock:
            counts = sorted(known for known_size, known in self._known if known_size == size)
        if not counts:
            return 0.0
        bucket = _bucket(count)
        nearest = min((c for c in counts if c >= bucket), default=counts[-1])
        factor = max(1.0, bucket / nearest)
        return factor * self._known[(size, nearest)].seconds

    def refuse(self, size: Size) -> None:
        """Note that a picture of `size` was refused because of these estimates."""
        with self._lock:
            for (known_size, _), service_time in self._known.items():
                if known_size == size:
                    service_time.refuse()


def _bucket(count: int) -> int:
    """Return the power of two at or above `count`."""
    return 1 << (count - 1).bit_length()


def size_of(frame: I420Frame) -> Size:
    """Return (height, width)."""
    return frame.height, frame.width
