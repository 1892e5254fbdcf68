"""All MediaPipelines are listed when they are first watched, when a term begins, and now and then: what their watch
has lost, a change or a deletion, is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.shell.backoff import Backoff, jittered
from mediapipeline_operator.shell.cluster.errors import ClusterError, ForbiddenError, NotFoundError
from mediapipeline_operator.shell.cluster.kinds import PIPELINE
from mediapipeline_operator.shell.cluster.reader import pages
from mediapipeline_operator.shell.cluster.store import version
from mediapipeline_operator.shell.cluster.transport import Transport

_FIRST_BACKOFF_SECONDS = 0.5
_UNASKED_SECONDS = 5.0
_NEWEST = 2**62

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
        self._turn = asyncio.Lock()  # one list at a time
        self._listed: dict[str | None, str] = {}  # versions of complete lists that no watch has begun at yet
        self._tried: set[str | None] = set()  # scopes that have been listed, or may not be
        self._gone: set[str] = set()  # uids whose deletion was told during the list that is under way

    @property
    def synced(self) -> bool:
        """Whether each scope has been listed once, or may not be."""
        return len(self._tried) == len(self._scopes)

    async def run(self) -> None:
        """Until cancelled. A watch and a term ask for their first list themselves; without the kind no watch does."""
        while not self.synced:
            await asyncio.sleep(_UNASKED_SECONDS)
            await self._untried()
        while True:
            await asyncio.sleep(jittered(self._seconds, 0.3))
            await self.now()

    async def _untried(self) -> None:
        for scope in self._scopes:
            async with self._turn:
                if scope not in self._tried:
                    await self._attempt(scope)

    async def now(self) -> None:
        """One list of all. What cannot be listed is left to the watch and to the next time."""
        for scope in self._scopes:
            async with self._turn:
                await self._attempt(scope)

    async def catch_up(self) -> None:
        """One list of all that begins after this call. Tries until it succeeds; what may not be listed is forgotten."""
        for scope in self._scopes:
            backoff = Backoff(first_seconds=_FIRST_BACKOFF_SECONDS)
            while (error := await self._in_turn(scope)) is not None:
                if _refused(error):
                    self._forget(scope)
                    break
                await asyncio.sleep(backoff.next_seconds())

    async def listed(self, scope: str | None) -> str:
        """The version of a complete list, for a watch to begin at: of the last one, or of a new one when a watch has
        begun there before (it may have become too old for that). Tries until it succeeds.
        """
        backoff = Backoff(first_seconds=_FIRST_BACKOFF_SECONDS)
        while True:
            async with self._turn:  # one that is under way will do
                if scope in self._listed or await self._attempt(scope) is None:
                    return self._listed.pop(scope)
            await asyncio.sleep(backoff.next_seconds())

    def gone(self, uid: str) -> None:
        """A deletion was told: a list that is under way may show the resource yet."""
        if self._turn.locked():
            self._gone.add(uid)

    async def _in_turn(self, scope: str | None) -> ClusterError | None:
        async with self._turn:
            return await self._attempt(scope)

    async def _attempt(self, scope: str | None) -> ClusterError | None:
        """One list; returns what was in its way."""
        try:
            await self._relist(scope)
        except ClusterError as error:
            log.warning("relist_failed", kind=PIPELINE.name, error=str(error))
            if _refused(error):
                self._tried.add(scope)
            return error
        self._tried.add(scope)
        return None

    async def _relist(self, scope: str | None) -> None:
        self._gone.clear()
        there: set[str] = set()
        listed_at = ""
        async for items, listed_at in pages(self._transport, PIPELINE, scope):  # noqa: B007  the last one counts
            for item in items:
                there.add(item["metadata"]["uid"])
                if item["metadata"]["uid"] not in self._gone:
                    self._seen(None, item)
        for key, uid in self._pipelines.older_than(version(listed_at)):
            if uid not in there and scope in (None, key.namespace):
                self._tell_deleted(key, uid)
        self._listed[scope] = listed_at

    def _forget(self, scope: str | None) -> None:
        for key, uid in self._pipelines.older_than(_NEWEST):
            if scope in (None, key.namespace):
                self._tell_deleted(key, uid)

    def _tell_deleted(self, key: Key, uid: str) -> None:
        self._seen("DELETED", {"metadata": {"namespace": key.namespace, "name": key.name, "uid": uid}})


def _refused(error: ClusterError) -> bool:
    """Another try has the same answer until somebody has changed the cluster."""
    return isinstance(error, (ForbiddenError, NotFoundError))
