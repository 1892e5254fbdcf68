"""Watches the event loop: how late its timers are, and when it was last alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

INTERVAL_SECONDS = 0.1
ALIVE_SECONDS = 5.0


class LoopWatchdog:
    """A heartbeat on the event loop; `on_lag` gets the delay of each beat in seconds."""

    def __init__(self, on_lag: Callable[[float], None]) -> None:
        self._on_lag = on_lag
        self._last_beat = time.monotonic()

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
            self._on_lag(max(0.0, self._last_beat - before - INTERVAL_SECONDS))
