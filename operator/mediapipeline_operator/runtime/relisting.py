"""Now and then all MediaPipelines are listed: what their watch has lost, a change or a deletion, is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.shell.backoff import Backoff, jittered
from mediapipeline_operator.shell.cluster.errors import ClusterError
from mediapipeline_operator.shell.cluster.kinds import PIPELINE
from mediapipeline_operator.shell.cluster.reader import pages
from mediapipeline_operator.shell.cluster.store import version
from mediapipeline_operator.shell.cluster.transport import Transport

log = structlog.get_logger(__name__)


class Relisting:
    """Tells `seen` of each resource as the watch would, and of those that are gone as DELETED. A watch begins where one
    of these lists has ended, so nothing falls into a gap between the two.
    """

    def __init__(
        self,
        transport: Transport,
        namespaces: Sequence[str],
        pipelines: Pipelines,
        seen: Callable[[str | None, dict[str, Any]], None],
        seconds: float,
    ) -> None:
        self._transport = transport
        self._scopes: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._pipelines = pipelines
        self._seen = seen
        self._seconds = seconds
        self._listed: dict[str | None, str] = {}  # versions of complete lists that no watch has begun at yet

    async def run(self) -> None:
        """Until cancelled. The first list of a term, where its watch begins, is made before."""
        while True:
            await asyncio.sleep(jittered(self._seconds, 0.3))
            await self.now()

    async def now(self) -> None:
        """One list of all. What cannot be listed is left to the watch and to the next time."""
        for scope in self._scopes:
            try:
                await self._relist(scope)
            except ClusterError as error:
                log.warning("relist_failed", kind=PIPELINE.name, error=str(error))

    async def listed(self, scope: str | None) -> str:
        """The version of a complete list, for a watch to begin at: of the last one, or of a new one when a watch has
        begun there before (it may have become too old for that). Tries until it succeeds.
        """
        backoff = Backoff(first_seconds=0.5)
        while scope not in self._listed:
            try:
                await self._relist(scope)
            except ClusterError as error:
                log.warning("relist_failed", kind=PIPELINE.name, error=str(error))
                await asyncio.sleep(backoff.next_seconds())
        return self._listed.pop(scope)

    async def _relist(self, scope: str | None) -> None:
        there: set[str] = set()
        listed_at = ""
        async for items, listed_at in pages(self._transport, PIPELINE, scope):  # noqa: B007  the last one counts
            for item in items:
                there.add(item["metadata"]["uid"])
                self._seen(None, item)
        for key, uid in self._pipelines.older_than(version(listed_at)):
            if uid not in there and scope in (None, key.namespace):
                meta = {"namespace": key.namespace, "name": key.name, "uid": uid}
                self._seen("DELETED", {"metadata": meta})
        self._listed[scope] = listed_at
