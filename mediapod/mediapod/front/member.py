"""One child process of the front: how it fares, and the way to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

import httpx
import structlog
from prometheus_client.core import Metric

from mediapod.front.merge import parse
from mediapod.ipc.packets import PacketSocket
from mediapod.ipc.tether import Status

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.2
ASK_SECONDS = 1.0
START_SECONDS = 180.0  # until the first sign of readiness: torch, a model, a first CUDA context
KILLED_SECONDS = 5.0


class Loss(StrEnum):
    """How a process was lost."""

    CRASHED = "crashed"  # it ended by itself, or was killed by somebody
    HUNG = "hung"  # it gave no heartbeat and was killed


class Member:
    """A running child process. opening: offers that it is answering; requests: all requests that are with it."""

    def __init__(self, name: str, process: Process, admin: httpx.AsyncBaseTransport, http: httpx.AsyncBaseTransport):
        self.name, self.process, self.admin, self.http = name, process, admin, http
        self.status = Status()
        self.opening = self.requests = 0
        self.metrics: Sequence[Metric] = ()
        self.started = asyncio.Event()
        self._tether: PacketSocket | None = None
        self._beat_at = self._spawned_at = time.monotonic()
        self._asking = asyncio.Lock()

    def tether(self, connected: Any) -> None:
        """Take this end of the control socket."""
        self._tether = PacketSocket(connected, self._on_beat, lambda: None)

    @property
    def taken(self) -> int:
        """Sessions that it has or is about to have."""
        return self.status.taken + self.opening

    def note_taken(self, taken: int) -> None:
        """It said so with an answer, which is sooner than its next heartbeat."""
        self.status = replace(self.status, taken=taken)

    def order(self, **order: object) -> None:
        """Tell it to do something."""
        if self._tether is not None:
            self._tether.send(json.dumps(order).encode())

    async def watch(self, silence_seconds: float) -> Loss:
        """Wait until it has ended, by itself or because it was silent for too long."""
        ended = asyncio.ensure_future(self.process.wait())
        looked_at = time.monotonic()
        while not ended.done():
            await asyncio.wait([ended], timeout=LOOK_SECONDS)
            now = time.monotonic()
            # A time in which the front itself did not run (a suspended machine) says nothing of its children.
            self._beat_at += max(0.0, now - looked_at - LOOK_SECONDS)
            looked_at = now
            if not ended.done() and self._is_silent(silence_seconds):
                log.error("process gives no sign of life, killing it", process=self.name, pid=self.process.pid)
                self.kill()
                await asyncio.wait([ended], timeout=KILLED_SECONDS)
                return Loss.HUNG
        return Loss.CRASHED

    async def end(self, patience_seconds: float) -> None:
        """Ask it to end, kill it if it does not."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), patience_seconds)
            return
        self.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), KILLED_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def close(self) -> None:
        """Give up the connections to a process that has ended."""
        if self._tether is not None:
            self._tether.close()
        await self.admin.aclose()
        await self.http.aclose()

    async def read_metrics(self) -> None:
        """Bring `metrics` up to date; they stay as they were when it does not answer."""
        async with self._asking:  # an older answer must not overtake a newer one
            text = await self.ask("/metrics")
            try:
                self.metrics = parse(text) if text is not None else self.metrics
            except ValueError as error:
                log.warning("not metrics", process=self.name, error=str(error))

    async def ask(self, path: str, way: httpx.AsyncBaseTransport | None = None) -> str | None:
        """What it answers, on its admin socket unless told otherwise; None: nothing."""
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), ASK_SECONDS)
        request = httpx.Request("GET", f"http://{self.name}{path}", extensions={"timeout": timeout})
        try:
            async with asyncio.timeout(ASK_SECONDS):
                response = await (way or self.admin).handle_async_request(request)
                await response.aread()
        except (httpx.HTTPError, TimeoutError, RuntimeError):  # the last: closed meanwhile
            return None
        return response.text if response.status_code == httpx.codes.OK else None

    def _is_silent(self, silence_seconds: float) -> bool:
        now = time.monotonic()
        if not self.started.is_set():
            return now - self._spawned_at > START_SECONDS
        return now - self._beat_at > silence_seconds

    def _on_beat(self, message: bytes) -> None:
        try:
            self.status = Status.decode(message)
        except (ValueError, TypeError):
            log.warning("not a heartbeat", process=self.name)
            return
        self._beat_at = time.monotonic()
        if self.status.started:
            self.started.set()
