"""The circuit breaker that keeps an effect off a device which fails on it."""

from __future__ import annotations

from typing import Literal

PROBE_AFTER_SECONDS = 10.0

State = Literal["closed", "open", "probing"]


class Breaker:
    """closed -> (failure) -> open -> (10 s later, one caller) -> probing -> closed or open again.

    Time is an argument. Not thread-safe: its owner serialises the calls.
    """

    def __init__(self, probe_after_seconds: float = PROBE_AFTER_SECONDS) -> None:
        self._probe_after_seconds = probe_after_seconds
        self._probe_time = 0.0
        self.state: State = "closed"

    def allow(self, now: float) -> bool:
        """Say whether the device may be used. While open, one caller after the pause gets True: the probe.

        The pause starts anew with each probe, so a caller that never reports back blocks nobody for ever.
        """
        if self.state == "closed":
            return True
        if now < self._probe_time:
            return False
        self.state = "probing"
        self._probe_time = now + self._probe_after_seconds
        return True

    def succeed(self) -> None:
        """Note that the device did the work. A success that was launched before the failure does not close it."""
        if self.state == "probing":
            self.state = "closed"

    def fail(self, now: float) -> None:
        """Note that the device failed."""
        self.state = "open"
        self._probe_time = now + self._probe_after_seconds
