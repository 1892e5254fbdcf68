"""Watches the event loop: how late its timers are, and when it was last alive."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable

INTERVAL_SECONDS = 0.1
ALIVE_SECONDS = 5.0
RECENT_BEATS = 30  # three seconds


class LoopWatchdog:
    """A heartbeat on the event loop; `on_lag` gets the delay of each beat in seconds."""

    def __init__(self, on_lag: Callable[[float], None]) -> None:
        self._on_lag = on_lag
        self._last_beat = time.monotonic()
        self._lags: deque[float] = deque([0.0], maxlen=RECENT_BEATS)

    def recent_lag_seconds(self) -> float:
        """The median lag of the last seconds: one stall does not count, a busy loop does."""
        return statistics.median(self._lags)

    @property
    def alive(self) -> bool:
        """Whether the loop has run within the last seconds."""
        return time.monotonic() - self._last_beat < ALIVE_SECONDS

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(INTERVAL_SECONDS)
            self._last_beat = time.monotonic()
            lag = max(0.0, self._last_beat - before - INTERVAL_SECONDS)
            self._lags.append(lag)
            self._on_lag(lag)
