"""The scaling tick: one batch of measurements for all pipelines, then a pass for each.

The pass itself decides and acts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling.model import Signals
from mediapipeline_operator.runtime.collecting import Collecting
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.shell.clock import Clock

_OPEN_TICKS = 12  # one with a pipeline that the API server has put off for longer is counted with what it has taken
_GATHER_SECONDS = 0.3  # new pipelines come in bunches: one early batch for all of them

log = structlog.get_logger(__name__)


class SignalReader(Protocol):
    """shell.prometheus, or a stand-in. Never raises; what went wrong is in the Signals."""

    async def read(self, pipelines: Sequence[tuple[Key, MediaPipelineSpec]]) -> Mapping[Key, Signals]: ...


@dataclass(frozen=True, slots=True)
class _OpenTick:
    started: float  # monotonic
    undecided: set[Key]


class Scaler:
    """Measures every `tick_seconds`, and soon after a pipeline is seen for the first time."""

    def __init__(
        self,
        reader: SignalReader,
        pipelines: Pipelines,
        enqueue: Callable[[Key], None],
        tick_seconds: float,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._reader = reader
        self._pipelines = pipelines
        self._enqueue = enqueue
        self._tick_seconds = tick_seconds
        self._clock = clock
        self._metrics = metrics
        self._signals: Mapping[Key, Signals] = {}
        self._open: deque[_OpenTick] = deque()
        self._tick_started = 0.0
        self._early = asyncio.Event()
        self._collecting = Collecting()

    def signals(self, key: Key) -> Signals | None:
        """The last batch's measurements; None: not measured yet."""
        return self._signals.get(key)

    def notice(self, key: Key) -> None:
        """A pipeline was seen: one without measurements gets them soon."""
        if key not in self._signals and self._pipelines.needs_decisions(key):
            self._early.set()

    def decided(self, key: Key) -> None:
        """A pass of the pipeline has ended, or it is gone: with the last one a tick ends, also one that has taken so
        long that others have begun.
        """
        for tick in self._open:
            tick.undecided.discard(key)
        while self._open and not self._open[0].undecided:
            self._end_oldest()

    def _end_oldest(self) -> None:
        self._metrics.tick_seconds.observe(self._clock.monotonic() - self._open.popleft().started)
        if not self._open:
            self._collecting.resume()

    def since_tick_seconds(self) -> float | None:
        """How long ago the last tick began; None: there was none yet."""
        return self._clock.monotonic() - self._tick_started if self._tick_started else None

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                started = self._clock.monotonic()
                await self._tick()
                await self._wait(started + self._tick_seconds)
        finally:
            self._collecting.resume()

    async def _tick(self) -> None:
        self._tick_started = self._clock.monotonic()
        self._early.clear()  # all that are known now are measured
        self._metrics.pipelines.set(len(self._pipelines))
        known = self._pipelines.to_measure()
        if not known:
            self._signals = {}
            return
        self._collecting.pause()
        self._signals = await self._reader.read(known)
        self._metrics.batch_seconds.observe(self._clock.monotonic() - self._tick_started)
        if len(self._open) == _OPEN_TICKS:
            self._end_oldest()
        self._open.append(_OpenTick(self._tick_started, {key for key, _ in known}))
        for key, _ in known:
            self._enqueue(key)

    async def _wait(self, until: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.monotonic())):
                await self._early.wait()
                await asyncio.sleep(_GATHER_SECONDS)
        except TimeoutError:
            pass
        self._early.clear()
