"""How many sessions a device carries: frames of N cameras at 30 a second, each with a phase of its own and some jitter,
and how old they are when they come back from the engine.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from gpu_effects import stages_of, usual

from devcluster.load.statistics import percentile
from mediapod.engine import DeadlineExceeded
from mediapod.engine.torch import TorchEngine
from mediapod.frames.i420 import I420Frame

FRAMES_PER_SECOND = 30
JITTER_SECONDS = 0.002
DEADLINE_SECONDS = 0.1
LATEST_SECONDS = 0.3  # after the last frame was due; what is not back by then counts as never

Process = Callable[[I420Frame, float], Awaitable[object]]
Open = Callable[[], AbstractAsyncContextManager[Process]]


@asynccontextmanager
async def ours(device: str, effect: str):  # type: ignore[no-untyped-def]  # an async generator of Process
    """The mediapod's batching engine."""
    engine = TorchEngine(stages_of(effect), device, on_fallback=lambda _: None)
    await engine.start()
    try:
        yield engine.process
    finally:
        await engine.stop()


@asynccontextmanager
async def one_at_a_time(device: str, effect: str):  # type: ignore[no-untyped-def]  # an async generator of Process
    """What most services do: a thread that takes one frame after the other, eagerly."""
    with ThreadPoolExecutor(1) as pool:

        async def process(frame: I420Frame, _deadline: float) -> object:
            return await asyncio.get_running_loop().run_in_executor(pool, usual, device, effect, frame)

        yield process
        pool.shutdown(wait=True, cancel_futures=True)


async def ages(process: Process, sessions: int, frame: I420Frame, seconds: float) -> list[float]:
    """Milliseconds from when each frame was due until it came back; infinite: it did not, or it was refused."""
    found: list[float] = []
    start, tasks = time.monotonic() + 0.05, set[asyncio.Task[None]]()

    async def one(due: float) -> None:
        try:
            await process(frame, due + DEADLINE_SECONDS)
        except DeadlineExceeded:
            return
        found.append(1000 * (time.monotonic() - due))

    dues = sorted(
        start + phase + number / FRAMES_PER_SECOND + random.uniform(0, JITTER_SECONDS)
        for phase in (random.uniform(0, 1 / FRAMES_PER_SECOND) for _ in range(sessions))
        for number in range(max(1, round(seconds * FRAMES_PER_SECOND)))
    )
    for due in dues:
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        tasks.add(asyncio.create_task(one(due)))
    await asyncio.wait(tasks, timeout=LATEST_SECONDS)
    for task in tasks:
        task.cancel()
    return found + [math.inf] * (len(dues) - len(found))


async def p95_by_sessions(
    open_engine: Open, frame: I420Frame, seconds: float, limit_milliseconds: float, most: int
) -> dict[int, float]:
    """p95 in milliseconds at 1, 2, 4 ... sessions until it passes the limit, then in between until it is known to an
    eighth. An engine of its own for each: a backlog must not be inherited.
    """
    found: dict[int, float] = {}

    async def passes(sessions: int) -> bool:
        async with open_engine() as process:
            await ages(process, 1, frame, min(0.3, seconds))
            found[sessions] = percentile(await ages(process, sessions, frame, seconds), 0.95) or math.inf
        return found[sessions] <= limit_milliseconds

    low, high = 0, 1
    while high <= most and await passes(high):
        low, high = high, 2 * high
    while high <= most and high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (middle, high) if await passes(middle) else (low, middle)
    return found


def knee(p95: dict[int, float], limit_milliseconds: float) -> int:
    """The most sessions up to which p95 never passed the limit."""
    carried = 0
    for sessions in sorted(p95):
        if p95[sessions] > limit_milliseconds:
            break
        carried = sessions
    return carried
