"""For how long a device has had work, when several batches can be on their way at once."""

from __future__ import annotations

from collections import defaultdict


class BusyTime:
    """Seconds with at least one batch on its way (overlapping batches count once). Time is an argument.

    Where a batch really ran is known when it ends, so the time since the last end goes to the device of the one that
    ends; what has no end yet is not counted, so that no device's seconds ever go down.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._open_seconds = 0.0
        self._active = 0
        self._since = 0.0

    def begin(self, now: float) -> None:
        """Note that a batch was handed to the device."""
        self._advance(now)
        self._active += 1

    def end(self, now: float, device: str) -> None:
        """Note that a batch has ended and on which device it ran."""
        self._advance(now)
        self._active -= 1
        self._seconds[device] += self._open_seconds
        self._open_seconds = 0.0

    def seconds(self) -> dict[str, float]:
        """Return device -> busy seconds of the batches that have ended."""
        return {self._device: 0.0, **self._seconds}

    def _advance(self, now: float) -> None:
        if self._active:
            self._open_seconds += max(0.0, now - self._since)
        self._since = now
