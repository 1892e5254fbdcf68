"""The process: wiring, the health server, terms of leadership, and a graceful end that gives the Lease back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from typing import Any

import structlog

from mediapipeline_operator import __version__
from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.following import Following
from mediapipeline_operator.runtime.health import HealthServer
from mediapipeline_operator.runtime.leading import Outside, Term
from mediapipeline_operator.runtime.liveness import LoopLag, not_moving
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.settings import Settings
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.cache import ClusterCache
from mediapipeline_operator.shell.cluster.credentials import Credentials, load_credentials
from mediapipeline_operator.shell.cluster.store import PipelineName
from mediapipeline_operator.shell.cluster.transport import Transport
from mediapipeline_operator.shell.cluster.writer import Writer
from mediapipeline_operator.shell.events import EventPoster
from mediapipeline_operator.shell.lease import Lease
from mediapipeline_operator.shell.pods import PodAdmin
from mediapipeline_operator.shell.prometheus import PrometheusReader

log = structlog.get_logger(__name__)


class App:
    """One process of the operator. `run` ends on SIGTERM or SIGINT."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = Clock()
        self._metrics = Metrics()
        self._lag = LoopLag(self._clock)
        self._term: Term | None = None
        self._cache: ClusterCache | None = None
        self._following: Following | None = None

    async def run(self) -> None:
        """Serves until asked to stop. Raises NoCredentialsError and OSError (port taken) at start, nothing later."""
        credentials = load_credentials()
        self._metrics.tasks.set_function(_tasks_of(asyncio.get_running_loop()))
        stop = _stop_event()
        async with AsyncExitStack() as stack:
            health = HealthServer(self._not_alive, self._not_ready, self._progress, self._metrics.registry)
            await health.start(self._settings.listen_address, self._settings.health_port)
            stack.push_async_callback(health.close)
            await stack.enter_async_context(self._lag)
            transport = await stack.enter_async_context(self._transport(credentials))
            admin = await stack.enter_async_context(PodAdmin())
            lease = Lease(transport, self._settings.lease(), self._clock)
            reader = PrometheusReader(self._settings.prometheus())
            stack.callback(reader.close)
            outside = self._outside(credentials, transport, admin, lease, reader)
            log.info("operator_started", version=__version__, server=credentials.server)
            await _until(stop, self._serve(outside, lease))
        log.info("operator_stopped")

    async def _serve(self, outside: Outside, lease: Lease) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(outside.cache.run(), name="caches")
            group.create_task(outside.following.run(), name="following")
            group.create_task(outside.events.run(), name="events")
            group.create_task(self._lead_again_and_again(outside, lease), name="leadership")

    async def _lead_again_and_again(self, outside: Outside, lease: Lease) -> None:
        while True:
            await lease.acquire()
            self._term = Term(outside)
            self._metrics.leader.set(1)
            try:
                await _first_of(lease.renew_until_lost(), self._term.run())
            finally:
                self._metrics.leader.set(0)
                self._metrics.gauges.clear()
                self._term = None
                await lease.release()  # before anything else ends that may take its time

    def _outside(
        self, credentials: Credentials, transport: Transport, admin: PodAdmin, lease: Lease, reader: PrometheusReader
    ) -> Outside:
        settings = self._settings
        writer = Writer(transport, lambda: lease.held)
        told = (self._touched, self._touch_all)
        cache = ClusterCache(
            transport, settings.watched_namespaces, *told, self._clock, resync_seconds=settings.resync_seconds
        )
        self._cache = cache
        self._following = Following(
            credentials, transport, settings.watched_namespaces, self._changed, self._clock, settings.resync_seconds
        )
        return Outside(
            settings=settings,
            transport=transport,
            cache=cache,
            following=self._following,
            admin=admin,
            writer=writer,
            events=EventPoster(writer, self._clock, lease.identity),
            reader=reader,
            metrics=self._metrics,
            clock=self._clock,
        )

    def _transport(self, credentials: Credentials) -> Transport:
        return Transport(
            credentials,
            request_timeout_seconds=self._settings.request_timeout_seconds,
            user_agent=f"mediapipeline-operator/{__version__}",
        )

    def _changed(self, key: Key) -> None:
        if self._term is not None:
            self._term.changed(key)

    def _touched(self, names: set[PipelineName]) -> None:
        if self._term is not None:
            self._term.touched(names)

    def _touch_all(self) -> None:
        if self._term is not None:
            self._term.touch_all()

    def _not_alive(self) -> list[str]:
        return not_moving(self._term.progress(), self._settings.tick_seconds) if self._term is not None else []

    def _progress(self) -> dict[str, object]:
        """The event loop's lag, and what the leader's queue and ticks do."""
        progress = asdict(self._term.progress()) if self._term is not None else None
        return {"leader": self._term is not None, "loop_lag_seconds": self._lag.seconds, "progress": progress}

    def _not_ready(self) -> list[str]:
        filled = (self._cache, self._following)
        if all(part is not None and part.synced for part in filled):
            return []
        return ["the caches of the cluster are not filled yet"]


def _tasks_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    return lambda: float(len(asyncio.all_tasks(loop)))


def _stop_event() -> asyncio.Event:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` until `stop`; an end of `work` before that is an error."""
    await _first_of(stop.wait(), work)


async def _first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Runs all until one ends, cancels the others and waits for them. Raises what the first one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task
    for task in done:
        task.result()
