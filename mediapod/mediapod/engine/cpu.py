"""The CPU engine: OpenCV and NumPy in a few threads of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import cv2

from mediapod.engine.background import lower_priority
from mediapod.engine.estimate import BatchTimes, Size, size_of
from mediapod.engine.interface import Clock, DeadlineExceeded, EffectError, Processed
from mediapod.engine.stages import Stage, grey_frame, run_on_cpu
from mediapod.frames.i420 import I420Frame

T = TypeVar("T")

# Frames waiting for a thread. Deadlines bound the queue long before; this bounds it even with deadlines far away.
QUEUE_LIMIT = 256


def default_workers(environment: Mapping[str, str] = os.environ) -> int:
    """Return MEDIAPOD_WORKERS, else the number of CPUs that this process may use."""
    configured = environment.get("MEDIAPOD_WORKERS", "")
    if not configured:
        return len(os.sched_getaffinity(0))
    if not configured.isdecimal() or int(configured) < 1:
        raise ValueError(f"MEDIAPOD_WORKERS is {configured!r}; give a whole number of threads, at least 1")
    return int(configured)


class CpuEngine:
    """Runs each frame's stages in one of `workers` threads; a frame that cannot make its deadline is not started.

    background: its threads give way to those of other engines.
    """

    device = "cpu"

    def __init__(
        self,
        stages: Sequence[Stage],
        workers: int | None = None,
        clock: Clock = time.monotonic,
        *,
        background: bool = False,
    ) -> None:
        self._stages = [stage for stage in stages if not stage.effect.is_identity]
        self._workers = workers or default_workers()
        self._clock = clock
        self._initializer = lower_priority if background else None
        self._executor: ThreadPoolExecutor | None = None
        self._pending = 0
        self._times = BatchTimes()
        self._busy_seconds = 0.0
        self._busy_lock = threading.Lock()

    async def start(self) -> None:
        """Start the threads and run each stage once, so that no user's frame pays for a first call."""
        # OpenCV's own pool would put each frame on all cores: more latency for the other sessions, no more throughput.
        cv2.setNumThreads(1)
        executor = ThreadPoolExecutor(self._workers, thread_name_prefix="effect", initializer=self._initializer)
        await asyncio.get_running_loop().run_in_executor(executor, self._warm_up)
        self._executor = executor

    async def stop(self) -> None:
        """Refuse what waits; a thread in the middle of a frame ends after it."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    async def process(self, frame: I420Frame, deadline: float) -> Processed:
        """See Engine.process."""
        if not self._stages:
            self._admit(size_of(frame), self._clock(), deadline)
            return Processed(frame, self.device, effect_seconds=0.0, queue_seconds=0.0)
        return await self._in_thread(size_of(frame), deadline, partial(self._work, frame))

    async def process_between(
        self, read: Callable[[], I420Frame], write: Callable[[I420Frame], T], size: Size, deadline: float
    ) -> tuple[Processed, T]:
        """Process the frame of `size` that `read` returns, and what `write` makes of the result: all in one go in one
        thread, since for a small picture each change of threads costs as much as the work. Raises what `read` and
        `write` raise, too.
        """

        def work(deadline: float, arrived: float) -> tuple[Processed, T]:
            processed = self._work(read(), deadline, arrived)
            return processed, write(processed.frame)

        return await self._in_thread(size, deadline, work)

    async def _in_thread(self, size: Size, deadline: float, work: Callable[[float, float], T]) -> T:
        """work: is called with the deadline and the time of arrival."""
        arrived = self._clock()
        executor = self._admit(size, arrived, deadline)
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work, deadline, arrived)
        finally:
            self._pending -= 1

    def busy_seconds(self) -> Mapping[str, float]:
        """Return the seconds that the threads have worked, all added up."""
        with self._busy_lock:
            return {self.device: self._busy_seconds}

    def _warm_up(self) -> None:
        # An effect that fails here will say so on the first real frame, where it can be counted.
        with contextlib.suppress(EffectError):
            run_on_cpu(self._stages, grey_frame(64, 64))

    def _admit(self, size: Size, now: float, deadline: float) -> ThreadPoolExecutor:
        if self._executor is None:
            raise DeadlineExceeded("the engine is not running")
        if self._pending >= QUEUE_LIMIT:
            raise DeadlineExceeded(f"{self._pending} frames are waiting already")
        # Rounds of service until this frame's turn is over, all threads working in step on frames of its size.
        rounds = self._pending // self._workers + 1
        self._refuse_if_late(now + rounds * self._times.estimate(size, 1), now, deadline, size)
        return self._executor

    def _refuse_if_late(self, finish: float, now: float, deadline: float, size: Size) -> None:
        if finish > deadline:
            self._times.refuse(size)
            raise DeadlineExceeded(
                f"would be finished {finish - deadline:.3f} s late, {deadline - now:.3f} s were left"
            )

    def _work(self, frame: I420Frame, deadline: float, arrived: float) -> Processed:
        started = self._clock()
        if self._executor is None:
            raise DeadlineExceeded("the engine has stopped")
        self._refuse_if_late(started + self._times.estimate(size_of(frame), 1), started, deadline, size_of(frame))
        try:
            result = run_on_cpu(self._stages, frame)
        finally:
            seconds = self._clock() - started
            self._times.observe(size_of(frame), 1, seconds)
            with self._busy_lock:
                self._busy_seconds += seconds
        return Processed(result, self.device, effect_seconds=seconds, queue_seconds=started - arrived)
