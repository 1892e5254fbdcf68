"""Runs the effects of requests: an engine for each set of stages, kept while it is used, behind the live frames."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from mediapod.engine import Engine, Processed, StageSpec
from mediapod.engine.background import lower_priority
from mediapod.engine.cpu import CpuEngine
from mediapod.frames.i420 import I420Frame

T = TypeVar("T")

KEPT_ENGINES = 8
REQUESTS_AT_ONCE = 64
REQUEST_SECONDS = 20.0

MakeEngine = Callable[[Sequence[StageSpec]], Engine]


class Busy(Exception):  # noqa: N818  an answer, not a fault
    """Too many requests wait already."""


@dataclass(slots=True)
class _Kept:
    engine: Engine
    users: int = 0


class RequestProcessor:
    """Processes single pictures with the lowest priority: live frames come first."""

    def __init__(self, make_engine: MakeEngine, threads: int) -> None:
        self._make_engine = make_engine
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._starting = asyncio.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mediapod-picture", initializer=lower_priority)
        self._waiting = 0

    async def process(
        self,
        stages: Sequence[StageSpec],
        read: Callable[[], I420Frame],
        write: Callable[[I420Frame], T],
        size: tuple[int, int],
    ) -> tuple[Processed, T]:
        """Run `stages` on the picture of `size` (width, height) that `read` returns, and `write` on the result, all off
        the event loop. Raises InvalidStages, Busy, EffectError, DeadlineExceeded, and what `read` raises.
        """
        key = json.dumps([[stage.effect, dict(stage.parameters)] for stage in stages], sort_keys=True)
        with self._place():
            kept = await self._engine_for(key, stages)
            kept.users += 1
            try:
                return await self._through(kept.engine, read, write, size)
            finally:
                kept.users -= 1

    async def _through(
        self, engine: Engine, read: Callable[[], I420Frame], write: Callable[[I420Frame], T], size: tuple[int, int]
    ) -> tuple[Processed, T]:
        deadline = time.monotonic() + REQUEST_SECONDS
        if isinstance(engine, CpuEngine):
            return await engine.process_between(read, write, size, deadline)
        run = asyncio.get_running_loop().run_in_executor
        processed = await engine.process(await run(self._pool, read), deadline)
        return processed, await run(self._pool, write, processed.frame)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of a bounded number. Raises Busy."""
        if self._waiting >= REQUESTS_AT_ONCE:
            raise Busy(f"{self._waiting} requests wait already")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def stop(self) -> None:
        """End all engines and threads."""
        engines = [kept.engine for kept in self._kept.values()]
        self._kept.clear()
        for engine in engines:
            await engine.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _engine_for(self, key: str, stages: Sequence[StageSpec]) -> _Kept:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        async with self._starting:
            if key not in self._kept:
                await self._make_room()
                engine = self._make_engine([replace(stage, name=f"{i}") for i, stage in enumerate(stages)])
                await engine.start()
                self._kept[key] = _Kept(engine)
        return self._kept[key]

    async def _make_room(self) -> None:
        """Stop the engine that was used longest ago. Raises Busy when all are in use."""
        if len(self._kept) < KEPT_ENGINES:
            return
        idle = next((key for key, kept in self._kept.items() if not kept.users), None)
        if idle is None:
            raise Busy(f"{KEPT_ENGINES} different effects are in use already")
        await self._kept.pop(idle).engine.stop()
