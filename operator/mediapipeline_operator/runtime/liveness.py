"""Whether the process moves on: an open port alone says nothing of the work behind it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType

from mediapipeline_operator.runtime.leading import Progress
from mediapipeline_operator.shell.clock import Clock

STUCK_SECONDS = 120.0  # twice what a pass may take
BEAT_SECONDS = 1.0


def not_moving(progress: Progress, tick_seconds: float) -> list[str]:
    """What stands still for so long that a restart is the way out."""
    found = []
    if progress.slowest_seconds > STUCK_SECONDS:
        found.append(f"a pass has been under way, or waited for, for {progress.slowest_seconds:.0f} s")
    since = progress.since_tick_seconds
    if since is not None and since > tick_seconds + STUCK_SECONDS:
        found.append(f"scaling has not looked at the pipelines for {since:.0f} s; it does so every {tick_seconds:g} s")
    return found


class LoopLag:
    """How late the event loop ran a timer last. A loop that hangs does not answer at all, and the probe times out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beat: asyncio.Task[None] | None = None
        self.seconds = 0.0

    async def __aenter__(self) -> LoopLag:
        self._beat = asyncio.create_task(self._watch(), name="loop-lag")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beat is not None:
            self._beat.cancel()
            with suppress(asyncio.CancelledError):
                await self._beat

    async def _watch(self) -> None:
        while True:
            began = self._clock.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            self.seconds = round(max(0.0, self._clock.monotonic() - began - BEAT_SECONDS), 3)
