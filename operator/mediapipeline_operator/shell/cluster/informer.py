"""List and watch of one kind.

Pages, bookmarks, a time-out for silence, a relist after 410 that finds deletions, a jittered resync, endless back-off.
A kind that the cluster lacks (404) or forbids (403) is marked unavailable and asked for again every now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Generic

import structlog

from mediapipeline_operator.api import labels
from mediapipeline_operator.shell.backoff import Backoff, jittered
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.errors import (
    ClusterError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    ThrottledError,
    api_error,
)
from mediapipeline_operator.shell.cluster.kinds import Kind
from mediapipeline_operator.shell.cluster.reader import pages
from mediapipeline_operator.shell.cluster.store import PipelineName, Store, T
from mediapipeline_operator.shell.cluster.transport import Transport

_WATCH_SECONDS = 300  # asked of the server, so that load moves between its replicas
_SILENCE_SECONDS = 90.0  # bookmarks come every minute; a longer silence is a half-open connection
_PAUSE_SECONDS = 0.5  # between two watches, should something in between end each of them at once
_UNAVAILABLE_RETRY_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Informer(Generic[T]):
    """Keeps `store` equal to the cluster for one kind in one namespace (None: all).

    `selector`: only objects with these labels; empty: all of the kind.
    """

    def __init__(
        self,
        transport: Transport,
        kind: Kind,
        namespace: str | None,
        store: Store[T],
        project: Callable[[Mapping[str, Any]], T],
        on_change: Callable[[set[PipelineName]], None],
        on_availability: Callable[[], None],
        clock: Clock,
        resync_seconds: float,
        selector: str = labels.PIPELINE,
    ) -> None:
        self.kind = kind
        self.unavailable: str | None = None  # why the kind cannot be read
        self.synced = False  # listed once, or known to be unavailable
        self._selector = selector
        self._transport = transport
        self._namespace = namespace
        self._store = store
        self._project = project
        self._on_change = on_change
        self._on_availability = on_availability
        self._clock = clock
        self._resync_seconds = resync_seconds
        self._backoff = Backoff(first_seconds=0.5)
        self._version = ""
        self._relist_at = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._list()
                await self._watch_until_stale()
            except (NotFoundError, ForbiddenError) as error:
                missing = isinstance(error, NotFoundError)
                self._mark("the cluster has no such kind" if missing else f"403 {error.message}")
                await asyncio.sleep(jittered(_UNAVAILABLE_RETRY_SECONDS, 0.3))
            except GoneError:
                log.info("watch_expired", kind=self.kind.name)
            except ClusterError as error:
                await self._wait(error)

    async def _wait(self, error: ClusterError) -> None:
        delay = self._backoff.next_seconds()
        if isinstance(error, ThrottledError) and error.retry_after_seconds:
            delay = max(delay, error.retry_after_seconds)
        log.warning("cluster_unreachable", kind=self.kind.name, error=str(error), retry_seconds=round(delay, 1))
        await asyncio.sleep(delay)

    async def _list(self) -> None:
        read: list[tuple[str, T]] = []
        version = ""
        async for items, version in pages(self._transport, self.kind, self._namespace, self._selector):  # noqa: B007  the last one counts
            # At once, page by page: all of them in one go would keep everything else waiting for seconds.
            read += [(item["metadata"]["name"], self._project(item)) for item in items]
        self._version = version
        self._relist_at = self._clock.monotonic() + jittered(self._resync_seconds, 0.3)
        self._on_change(self._store.replace(read, self._version, self._namespace))
        self._mark(None)

    async def _watch_until_stale(self) -> None:
        """Watches again and again from the last version, until it is time for a resync.

        Raises when a relist is needed.
        """
        while self._clock.monotonic() < self._relist_at:
            try:
                await self._watch()
                await asyncio.sleep(jittered(_PAUSE_SECONDS, 0.5))
            except (NotFoundError, ForbiddenError, GoneError):
                raise
            except ClusterError as error:
                await self._wait(error)

    async def _watch(self) -> None:
        query: dict[str, str | int] = {
            **({"labelSelector": self._selector} if self._selector else {}),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": max(1, round(jittered(min(_WATCH_SECONDS, self._resync_seconds), 0.3))),
        }
        path = self.kind.collection(self._namespace)
        async for event in self._transport.lines(path, query, silence_seconds=_SILENCE_SECONDS):
            self._backoff.reset()
            self._take(event["type"], event["object"])

    def _take(self, event_type: str, obj: Mapping[str, Any]) -> None:
        if event_type == "ERROR":
            raise api_error(int(obj.get("code") or 500), obj)
        meta = obj["metadata"]
        self._version = meta["resourceVersion"]
        if event_type == "BOOKMARK":
            return
        if event_type == "DELETED":
            self._on_change(self._store.remove(meta["namespace"], meta["name"], meta["resourceVersion"]))
        else:
            self._on_change(self._store.put(meta["name"], self._read(obj)))

    def _read(self, obj: Mapping[str, Any]) -> T:
        return self._project({**obj, "kind": self.kind.name})

    def _mark(self, unavailable: str | None) -> None:
        changed = not self.synced or (unavailable is None) != (self.unavailable is None)
        self.unavailable = unavailable
        self.synced = True
        if unavailable is not None:
            self._on_change(self._store.replace((), str(2**62), self._namespace))
        if changed:
            log.info("kind_observed", kind=self.kind.name, available=unavailable is None, detail=unavailable)
            self._on_availability()
