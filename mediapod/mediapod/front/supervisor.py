"""Keeps one child process running: what ends is started again, later each time that it ends soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from mediapod.front.member import Loss, Member
from mediapod.front.spawn import Command, spawn

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 30.0
STEADY_SECONDS = 60.0  # who ran for this long starts anew with the shortest pause
END_SECONDS = 3.5

OnStart = Callable[[Member], None]
OnLoss = Callable[[Member, Loss], None]


class Supervisor:
    """on_start: called with each process that has started; on_loss: with each that was lost.

    failed: set, with the exit code in `code`, when the very first one ended before it was ready: then there is
    something wrong that another try would not cure, and it has said so itself.
    """

    def __init__(self, command: Callable[[], Command], silence_seconds: float, on_start: OnStart, on_loss: OnLoss):
        self._command, self._silence_seconds = command, silence_seconds
        self._on_start, self._on_loss = on_start, on_loss
        self.member: Member | None = None
        self.ready = asyncio.Event()
        self.failed = asyncio.Event()
        self.code = 0
        self._task = asyncio.get_running_loop().create_task(self._run(), name="mediapod-supervisor")

    async def stop(self) -> None:
        """End the process for good."""
        self._task.cancel()
        await asyncio.wait([self._task], timeout=1)
        member, self.member = self.member, None
        if member is not None:
            await member.end(END_SECONDS)
            await member.close()

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self.failed.is_set():
            began = time.monotonic()
            await self._one_life()
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)

    async def _one_life(self) -> None:
        try:
            self.member = member = await spawn(self._command())
        except OSError as error:  # no process or descriptor left
            log.error("process cannot be started", error=str(error))  # noqa: TRY400  where it was raised says nothing
            self._give_up_at_first(1)
            return
        starting = asyncio.ensure_future(self._announce(member))
        try:
            loss = await member.watch(self._silence_seconds)
        finally:
            starting.cancel()
        self.member = None
        self._lost(member, loss)
        await member.close()

    async def _announce(self, member: Member) -> None:
        await member.started.wait()
        self.ready.set()
        self._on_start(member)

    def _lost(self, member: Member, loss: Loss) -> None:
        log.error("process lost", process=member.name, loss=loss, code=member.process.returncode)
        self._on_loss(member, loss)
        self._give_up_at_first(max(1, member.process.returncode or 1))

    def _give_up_at_first(self, code: int) -> None:
        if not self.ready.is_set():
            self.code = code
            self.failed.set()
