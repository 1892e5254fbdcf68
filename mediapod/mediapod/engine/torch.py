"""The torch engine: one queue for all sessions, batches by deadline, its own threads for the device."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import cv2

from mediapod.engine.batching import Waiting, choose_batch
from mediapod.engine.busy import BusyTime
from mediapod.engine.estimate import BatchTimes, size_of
from mediapod.engine.fallback import FallbackRunner, OnFallback, Outcome, Runner
from mediapod.engine.interface import Clock, DeadlineExceeded, EffectError, Processed
from mediapod.engine.stages import Stage, grey_frame
from mediapod.frames.i420 import I420Frame

QUEUE_LIMIT = 1024
# How long after its deadline a frame on the device is still waited for; after that the device is taken for hung.
_HANG_SECONDS = 5.0
# Two batches on their way: one computes while the other is copied. More would only be a queue that cannot be reordered.
_CUDA_LANES = 2
_WARM_UP_SIZES = {"cuda": ((640, 360), (1280, 720))}


@dataclass(eq=False, slots=True)
class _Entry:
    frame: I420Frame
    waiting: Waiting
    arrived: float
    done: asyncio.Future[Processed]


class _Finished(NamedTuple):
    outcomes: list[Outcome]
    started: float
    ended: float


class TorchEngine:
    """Launches what waits as soon as a lane of the device is free; see `batching` for the choice.

    runner: where batches run; the default is torch on `device` ("cuda", or "cpu" for tests).
    background: its work on the GPU gives way to that of other engines.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        device: str,
        *,
        on_fallback: OnFallback,
        runner: Runner | None = None,
        clock: Clock = time.monotonic,
        background: bool = False,
    ) -> None:
        self.device = device
        self._stages = [stage for stage in stages if not stage.effect.is_identity]
        self._runner = FallbackRunner(self._stages, runner or _torch_runner(device, background), on_fallback, clock)
        self._lanes = _CUDA_LANES if device == "cuda" else 1
        self._clock = clock
        self._queue: list[_Entry] = []
        self._in_flight: set[asyncio.Future[_Finished]] = set()
        self._times = BatchTimes()
        self._busy = BusyTime(device)
        self._executor: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Start the threads and run the stages once on usual sizes, so that no user's frame pays for a first call."""
        cv2.setNumThreads(1)
        executor = ThreadPoolExecutor(self._lanes, thread_name_prefix=f"{self.device}-lane")
        loop = asyncio.get_running_loop()
        frames = [grey_frame(*size) for size in _WARM_UP_SIZES.get(self.device, ((64, 64),))]
        for frame in frames:
            lanes = [loop.run_in_executor(executor, self._runner.run, [frame]) for _ in range(self._lanes)]
            await asyncio.gather(*lanes)
        self._executor = executor

    async def stop(self) -> None:
        """Refuse what waits, wait a bounded time for what is on the device."""
        executor, self._executor = self._executor, None
        self._refuse(self._queue, "the engine has stopped")
        self._queue = []
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=_HANG_SECONDS)
        if executor is not None:
            executor.shutdown(wait=False)

    async def process(self, frame: I420Frame, deadline: float) -> Processed:
        """See Engine.process."""
        arrived = self._clock()
        if self._executor is None:
            raise DeadlineExceeded("the engine is not running")
        if not self._stages:
            return Processed(frame, self.device, effect_seconds=0.0, queue_seconds=0.0)
        if len(self._queue) >= QUEUE_LIMIT:
            raise DeadlineExceeded(f"{len(self._queue)} frames are waiting already")
        done: asyncio.Future[Processed] = asyncio.get_running_loop().create_future()
        entry = _Entry(frame, Waiting(size_of(frame), deadline), arrived, done)
        self._queue.append(entry)
        self._launch()
        return await self._result(entry, max(0.0, deadline - arrived) + _HANG_SECONDS)

    def busy_seconds(self) -> Mapping[str, float]:
        """Return the seconds with at least one batch on its way, by the device that did the work."""
        return self._busy.seconds()

    async def _result(self, entry: _Entry, timeout_seconds: float) -> Processed:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await entry.done
        except TimeoutError:
            raise DeadlineExceeded(f"the device did not answer in {timeout_seconds:.1f} s") from None
        finally:
            if entry in self._queue:
                self._queue.remove(entry)

    def _launch(self) -> None:
        while self._queue and self._executor is not None and len(self._in_flight) < self._lanes:
            choice = choose_batch([entry.waiting for entry in self._queue], self._clock(), self._times.estimate)
            self._give_up([self._queue[index] for index in choice.expired])
            batch = [self._queue[index] for index in choice.launch]
            taken = {*choice.expired, *choice.launch}
            self._queue = [entry for index, entry in enumerate(self._queue) if index not in taken]
            if batch:
                self._submit(self._executor, batch)

    def _submit(self, executor: ThreadPoolExecutor, batch: list[_Entry]) -> None:
        work = asyncio.get_running_loop().run_in_executor(executor, self._work, [entry.frame for entry in batch])
        self._busy.begin(self._clock())
        self._in_flight.add(work)
        work.add_done_callback(partial(self._finish, batch))

    def _work(self, frames: list[I420Frame]) -> _Finished:
        started = self._clock()
        outcomes = self._runner.run(frames)
        return _Finished(outcomes, started, self._clock())

    def _finish(self, batch: list[_Entry], work: asyncio.Future[_Finished]) -> None:
        self._in_flight.discard(work)
        failure = work.exception()
        if failure is None:
            self._deliver(batch, work.result())
        else:
            self._busy.end(self._clock(), self.device)
            for entry in batch:
                _fail(entry, EffectError(self._stages[0].name, self._stages[0].effect.name, repr(failure)))
        self._launch()

    def _deliver(self, batch: list[_Entry], finished: _Finished) -> None:
        seconds = finished.ended - finished.started
        self._times.observe(batch[0].waiting.size, len(batch), seconds)
        self._busy.end(finished.ended, finished.outcomes[0].device)
        for entry, (result, device) in zip(batch, finished.outcomes, strict=True):
            if isinstance(result, EffectError):
                _fail(entry, result)
            elif not entry.done.done():
                entry.done.set_result(Processed(result, device, seconds, finished.started - entry.arrived))

    def _give_up(self, entries: Sequence[_Entry]) -> None:
        for size in {entry.waiting.size for entry in entries}:
            self._times.refuse(size)
        self._refuse(entries, "would be finished after its deadline")

    @staticmethod
    def _refuse(entries: Sequence[_Entry], why: str) -> None:
        for entry in entries:
            _fail(entry, DeadlineExceeded(why))


def _fail(entry: _Entry, failure: Exception) -> None:
    if not entry.done.done():  # its session may have ended meanwhile
        entry.done.set_exception(failure)


def _torch_runner(device: str, background: bool) -> Runner:
    from mediapod.engine.torch_runner import TorchRunner

    return TorchRunner(device, background=background)
