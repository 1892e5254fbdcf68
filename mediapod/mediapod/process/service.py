"""Runs the effects of requests: an engine for each set of stages, kept while it is used, behind the live frames."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from mediapod.engine import Engine, Processed, StageSpec
from mediapod.engine.background import lower_priority
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

    async def process(self, stages: Sequence[StageSpec], frame: I420Frame) -> Processed:
        """Run `stages` on a picture. Raises InvalidStages, Busy, EffectError, DeadlineExceeded."""
        key = json.dumps([[stage.effect, dict(stage.parameters)] for stage in stages], sort_keys=True)
        kept = await self._engine_for(key, stages)
        kept.users += 1
        try:
            return await kept.engine.process(frame, time.monotonic() + REQUEST_SECONDS)
        finally:
            kept.users -= 1

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Decode or encode a picture off the event loop, bounded in number."""
        if self._waiting >= REQUESTS_AT_ONCE:
            raise Busy(f"{self._waiting} requests wait already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
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
