"""What a leader does, from taking the Lease until losing it.

Each term starts with empty books: nothing stale survives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.executor import Executor
from mediapipeline_operator.runtime.handlers import PipelineWatch
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.observer import Observer
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.runtime.queue import WorkQueue
from mediapipeline_operator.runtime.reconciler import Reconciler, Tools
from mediapipeline_operator.runtime.relisting import Relisting
from mediapipeline_operator.runtime.rollouts import RolloutTurns
from mediapipeline_operator.runtime.scaler import Scaler, SignalReader
from mediapipeline_operator.runtime.settings import Settings
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.cache import ClusterCache
from mediapipeline_operator.shell.cluster.credentials import Credentials
from mediapipeline_operator.shell.cluster.transport import Transport
from mediapipeline_operator.shell.cluster.writer import Writer
from mediapipeline_operator.shell.events import EventPoster
from mediapipeline_operator.shell.pods import PodAdmin


@dataclass(frozen=True)
class Outside:
    """The parts that a process has whether it leads or not."""

    settings: Settings
    credentials: Credentials
    transport: Transport
    cache: ClusterCache
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
        self._pipelines = Pipelines()
        self._rollouts = RolloutTurns(settings.max_concurrent_rollouts, metrics)
        self._reconciler = Reconciler(self._tools())
        self._queue = WorkQueue(self._reconciler.reconcile, settings.workers, clock, metrics)
        self._scaler = Scaler(outside.reader, self._pipelines, self._routine, settings.tick_seconds, clock, metrics)
        namespaces = settings.watched_namespaces
        self._relisting = Relisting(outside.transport, namespaces, self._pipelines, self.seen, settings.resync_seconds)
        self._watch = PipelineWatch(outside.credentials, namespaces, self.seen, self._relisting.listed, clock)

    async def run(self) -> None:
        """Until cancelled. Passes start when the caches of the children are full."""
        while not self._outside.cache.synced:  # noqa: ASYNC110  a few looks at start; the informers have no one event for it
            await asyncio.sleep(0.05)
        self._rollouts.begin(Key(*name) for name in self._outside.cache.rolling_out())
        await self._relisting.now()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run(), name="watch")
            group.create_task(self._relisting.run(), name="relisting")
            group.create_task(self._queue.run(), name="queue")
            group.create_task(self._scaler.run(), name="scaler")

    def seen(self, kind: str | None, body: dict[str, Any]) -> None:
        """A watch event of a MediaPipeline: into the books, its key into the queue unless it tells nothing new.

        Nothing else depends on its kind.
        """
        meta = body["metadata"]
        key = Key(meta["namespace"], meta["name"])
        if kind == "DELETED":
            self._pipelines.remove(key, meta["uid"])
        else:
            if not self._pipelines.put(body):
                return
            self._scaler.notice(key)
        self._queue.add(key)

    def _routine(self, key: Key) -> None:
        self._queue.add(key, routine=True)

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
        )
