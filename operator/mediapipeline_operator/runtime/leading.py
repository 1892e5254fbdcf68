"""What a leader does, from taking the Lease until losing it.

What is known of the cluster was known before, from standing by; what a term decides and remembers ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.executor import Executor
from mediapipeline_operator.runtime.following import Following
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.observer import Observer
from mediapipeline_operator.runtime.queue import WorkQueue
from mediapipeline_operator.runtime.reconciler import Reconciler, Tools
from mediapipeline_operator.runtime.rollouts import RolloutTurns
from mediapipeline_operator.runtime.scaler import Scaler, SignalReader
from mediapipeline_operator.runtime.settings import Settings
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.cache import ClusterCache
from mediapipeline_operator.shell.cluster.transport import Transport
from mediapipeline_operator.shell.cluster.writer import Writer
from mediapipeline_operator.shell.events import EventPoster
from mediapipeline_operator.shell.pods import PodAdmin

_TICK_YIELDS_SECONDS = 10.0  # at most, to changes

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outside:
    """The parts that a process has whether it leads or not."""

    settings: Settings
    transport: Transport
    cache: ClusterCache
    following: Following
    admin: PodAdmin
    writer: Writer
    events: EventPoster
    reader: SignalReader
    metrics: Metrics
    clock: Clock


@dataclass(frozen=True, slots=True)
class Progress:
    """pipelines: those looked after; queue_depth: those that wait for a worker; slowest_seconds: the longest that one
    has waited or been worked on; since_tick_seconds: since scaling looked at all of them, None before the first time.
    """

    pipelines: int
    queue_depth: int
    slowest_seconds: float
    since_tick_seconds: float | None


class Term:
    """One term of leadership."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        settings, clock, metrics = outside.settings, outside.clock, outside.metrics
        self._pipelines = outside.following.pipelines
        self._rollouts = RolloutTurns(settings.max_concurrent_rollouts, metrics)
        self._reconciler = Reconciler(self._tools())
        self._queue = WorkQueue(self._reconciler.reconcile, settings.workers, clock, metrics)
        self._scaler = Scaler(outside.reader, self._pipelines, self._ticked, settings.tick_seconds, clock, metrics)

    async def run(self) -> None:
        """Until cancelled. Prometheus is asked at once, about all that are known from standing by. Passes, which write,
        wait for a list of this term's own.
        """
        following = self._outside.following
        async with asyncio.TaskGroup() as group:
            catching_up = group.create_task(following.catch_up(), name="catching-up")
            while not self._outside.cache.synced:  # noqa: ASYNC110  a few looks at start; the informers have no one event for it
                await asyncio.sleep(0.05)
            if not following.synced:
                await catching_up
            self._rollouts.begin(Key(*name) for name in self._outside.cache.rolling_out())
            log.info("scaling_begins", pipelines=len(self._pipelines))
            group.create_task(self._scaler.run(), name="scaler")
            await catching_up
            log.info("passes_begin", pipelines=len(self._pipelines))
            for key in self._pipelines.known():
                self._queue.add(key)
            group.create_task(self._queue.run(), name="queue")

    def changed(self, key: Key) -> None:
        """A pipeline is new, has changed or is gone."""
        if key in self._pipelines:
            self._scaler.notice(key)
        self._queue.add(key)

    def _ticked(self, key: Key) -> None:
        """A tick has its turn too while changes wait, and not all of it at the same time."""
        self._queue.add(key, yields_seconds=_TICK_YIELDS_SECONDS * key.phase)

    def _put_off(self, key: Key, seconds: float) -> bool:
        """While many changes wait, the key comes again after those of the next seconds."""
        if not self._queue.crowded:
            return False
        self._queue.add(key, yields_seconds=seconds)
        return True

    def touched(self, names: Iterable[tuple[str, str]]) -> None:
        """Children or pods of these pipelines changed."""
        for namespace, name in names:
            key = Key(namespace, name)
            if key in self._pipelines:
                self._queue.add(key)
            else:
                self._rollouts.forget(key)

    def touch_all(self) -> None:
        """A kind came or went: every pipeline is looked at again."""
        for key in self._pipelines.readable():
            self._queue.add(key)

    def progress(self) -> Progress:
        """How its work moves on."""
        since = self._scaler.since_tick_seconds()
        return Progress(len(self._pipelines), self._queue.depth, self._queue.stuck_seconds(), since)

    def _tools(self) -> Tools:
        outside = self._outside
        return Tools(
            pipelines=self._pipelines,
            observer=Observer(outside.transport, outside.cache, outside.admin, outside.clock),
            executor=Executor(outside.writer, outside.cache, self._pipelines, outside.admin, outside.metrics),
            writer=outside.writer,
            events=outside.events,
            metrics=outside.metrics,
            clock=outside.clock,
            rollouts=self._rollouts,
            build=outside.settings.build(),
            tick_seconds=outside.settings.tick_seconds,
            measurements_every_seconds=outside.settings.measurements_every_seconds,
            signals=lambda key: self._scaler.signals(key),
            decided=lambda key: self._scaler.decided(key),
            put_off=self._put_off,
        )
