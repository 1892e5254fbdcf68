"""The MediaPipelines as the cluster has them, followed by a leader and by a candidate alike: who takes over knows them.

There is one list and one watch for both, which go on when a term begins or ends, so nothing falls between two of them.
A term only has them listed once more: a watch that is silent without anybody noticing it, on a connection that is
half open, may have kept an edit from a candidate whose children the former leader has long changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.handlers import PipelineWatch
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.runtime.relisting import Relisting
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.credentials import Credentials
from mediapipeline_operator.shell.cluster.transport import Transport


class Following:
    """Keeps `pipelines` equal to the cluster; `changed` gets the key of each that is news. Reads only."""

    def __init__(
        self,
        credentials: Credentials,
        transport: Transport,
        namespaces: Sequence[str],
        changed: Callable[[Key], None],
        clock: Clock,
        resync_seconds: float,
    ) -> None:
        self.pipelines = Pipelines()
        self._changed = changed
        self._lists = Relisting(transport, namespaces, self.pipelines, self.seen, resync_seconds)
        self._watch = PipelineWatch(credentials, namespaces, self.seen, self._lists.listed, clock)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run(), name="watch")
            group.create_task(self._lists.run(), name="relisting")

    @property
    def synced(self) -> bool:
        """Whether all have been listed once, as far as they may be."""
        return self._lists.synced

    async def catch_up(self) -> None:
        """Returns when `pipelines` is not older than this call. Tries until it succeeds."""
        await self._lists.catch_up()

    def seen(self, kind: str | None, body: dict[str, Any]) -> None:
        """A watch event or what a list has told. Nothing else depends on its kind."""
        meta = body["metadata"]
        key = Key(meta["namespace"], meta["name"])
        if kind == "DELETED":
            self._lists.gone(meta["uid"])
            self.pipelines.remove(key, meta["uid"])
        elif not self.pipelines.put(body):
            return
        self._changed(key)
