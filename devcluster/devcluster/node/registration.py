"""Registers the Node and keeps its Lease and heartbeat fresh."""

import asyncio
import time
from datetime import UTC, datetime

import structlog

from devcluster.node.api import MERGE, ApiClient, ApiError
from devcluster.node.node_object import lease_object, node_metadata, node_object, node_status
from devcluster.node.settings import NodeSettings

_log = structlog.get_logger(__name__)
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_RENEW_SECONDS = 10.0
_STATUS_SECONDS = 60.0
_RETRY_SECONDS = 1.0


class Registration:
    """This node's own objects."""

    def __init__(self, client: ApiClient, settings: NodeSettings, isolation: str) -> None:
        self._client, self._settings, self._isolation = client, settings, isolation
        self._path = f"/api/v1/nodes/{settings.name}"
        self._ready_since = datetime.now(UTC)
        self._uid = ""

    async def register(self, timeout_seconds: float = 60.0) -> None:
        """Creates or adopts the Node and makes it Ready. Raises ApiError after ``timeout_seconds`` of failures."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                await self._register_once()
            except ApiError as error:
                if time.monotonic() > deadline:
                    raise
                _log.warning("node not registered yet", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                _log.info("node registered", node=self._settings.name)
                return

    async def _register_once(self) -> None:
        wanted = node_object(self._settings, self._isolation)
        try:
            node = await self._client.post("/api/v1/nodes", wanted)
        except ApiError as error:
            if error.status != 409:
                raise
            node = await self._client.patch(self._path, {"metadata": node_metadata(self._settings, self._isolation)})
        self._uid = node["metadata"]["uid"]
        await self._renew_lease()
        await self._write_status()

    async def run(self) -> None:
        """Renews the Lease every ten seconds and the status every minute, until cancelled."""
        status_due = time.monotonic() + _STATUS_SECONDS
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                await self._renew_lease()
                if time.monotonic() >= status_due:
                    await self._write_status()
                    status_due = time.monotonic() + _STATUS_SECONDS
            except ApiError as error:
                _log.warning("heartbeat failed", error=str(error))
                if error.status == 404:
                    await self._register_again()

    async def _register_again(self) -> None:
        try:
            await self._register_once()
        except ApiError as error:
            _log.warning("node not registered again", error=str(error))

    async def _renew_lease(self) -> None:
        lease = lease_object(self._settings.name, self._uid, datetime.now(UTC))
        try:
            await self._client.patch(f"{_LEASES}/{self._settings.name}", lease, MERGE)
        except ApiError as error:
            if error.status != 404:
                raise
            await self._client.post(_LEASES, lease)

    async def _write_status(self, *, ready: bool = True) -> None:
        status = node_status(self._settings, datetime.now(UTC), self._ready_since, ready=ready)
        await self._client.patch(f"{self._path}/status", {"status": status})

    async def unready(self) -> None:
        """Says that no pods run here any more; best effort."""
        self._ready_since = datetime.now(UTC)
        try:
            await self._write_status(ready=False)
        except ApiError as error:
            _log.warning("node not marked as stopped", error=str(error))
