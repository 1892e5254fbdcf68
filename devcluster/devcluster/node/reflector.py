"""List and watch of one collection, for as long as the task runs."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Literal

import structlog

from devcluster.node.api import ApiClient, ApiError, GoneError
from devcluster.node.json_types import Json

Change = Literal["SET", "DELETED"]
OnChange = Callable[[Change, Json], None]
"""Called for each object that is new or differs, and for each that is gone (with its last known state)."""

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = (0.2, 10.0)


class Reflector:
    """Keeps ``on_change`` told about every object at ``path``; lists again after a 410, goes on after every error."""

    def __init__(
        self,
        client: ApiClient,
        path: str,
        on_change: OnChange,
        *,
        parameters: Mapping[str, str] | None = None,
        project: Callable[[Json], Json] = lambda item: item,
    ) -> None:
        self.synced = asyncio.Event()
        self._client, self._path, self._on_change = client, path, on_change
        self._parameters, self._project = dict(parameters or {}), project
        self._known: dict[str, Json] = {}
        self._resource_version = ""

    async def run(self) -> None:
        """Runs until it is cancelled."""
        wait_seconds = _RETRY_SECONDS[0]
        while True:
            try:
                if not self._resource_version:
                    await self._list()
                wait_seconds = _RETRY_SECONDS[0]
                await self._watch()
            except GoneError:
                self._resource_version = ""
            except ApiError as error:
                _log.warning("watch interrupted", path=self._path, error=str(error))
                self._resource_version = ""
                await asyncio.sleep(wait_seconds * random.uniform(0.5, 1.0))  # noqa: S311  jitter
                wait_seconds = min(wait_seconds * 2, _RETRY_SECONDS[1])

    async def _list(self) -> None:
        items, self._resource_version = await self._client.list_all(self._path, self._parameters)
        found = {item["metadata"]["uid"]: item for item in items}
        for uid in [uid for uid in self._known if uid not in found]:
            self._on_change("DELETED", self._known.pop(uid))
        for item in found.values():
            self._set(item)
        self.synced.set()

    async def _watch(self) -> None:
        async for event in self._client.watch(self._path, self._parameters, self._resource_version):
            item = event["object"]
            self._resource_version = item["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self._known.pop(item["metadata"]["uid"], None)
                self._on_change("DELETED", self._project(item))
            elif event["type"] != "BOOKMARK":
                self._set(item)

    def _set(self, item: Json) -> None:
        """Keeps and tells the projection of an object, unless it is what was told last."""
        projected = self._project(item)
        uid = item["metadata"]["uid"]
        if self._known.get(uid) != projected:
            self._known[uid] = projected
            self._on_change("SET", projected)
