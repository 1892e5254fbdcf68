"""Writes a pod's status to the API server when it differs from what was written last."""

import asyncio
from datetime import UTC, datetime

import structlog

from devcluster.node.api import ApiClient, ApiError
from devcluster.node.json_types import Json
from devcluster.node.status import PodRuntime, pod_status

_log = structlog.get_logger(__name__)
_COALESCE_SECONDS = 0.02
_RETRY_SECONDS = (0.5, 10.0)


class StatusWriter:
    """Coalesces changes; at most one request at a time for each pod."""

    def __init__(self, client: ApiClient, pod: Json, runtime: PodRuntime) -> None:
        metadata = pod["metadata"]
        self._client, self._runtime = client, runtime
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        self._uid = metadata["uid"]
        self._observed: Json = pod.get("status") or {}
        self._written: Json | None = None
        self._dirty = asyncio.Event()
        self.gone = False

    def changed(self) -> None:
        """The runtime differs from what was written."""
        self._dirty.set()

    def observe(self, pod: Json) -> None:
        """A newer version of the pod: its conditions from others (readiness gates) count."""
        self._observed = pod.get("status") or {}
        if self._runtime.readiness_gates:
            self._dirty.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        wait_seconds = _RETRY_SECONDS[0]
        while not self.gone:
            await self._dirty.wait()
            await asyncio.sleep(_COALESCE_SECONDS)
            try:
                await self.flush()
                wait_seconds = _RETRY_SECONDS[0]
            except ApiError as error:
                _log.warning("pod status not written", path=self._path, error=str(error))
                self._dirty.set()
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _RETRY_SECONDS[1])

    async def flush(self) -> None:
        """Writes now if something differs. Raises ApiError; a pod that is gone only sets ``gone``."""
        self._dirty.clear()
        own = self._written if not self._runtime.readiness_gates else None
        status = pod_status(self._runtime, own or self._observed, datetime.now(UTC))
        if status == self._written or self.gone:
            return
        try:
            await self._client.patch(self._path, {"metadata": {"uid": self._uid}, "status": _replacing(status)})
        except ApiError as error:
            if error.status not in {404, 409}:
                raise
            self.gone = True
        self._written = status


def _replacing(status: Json) -> Json:
    """``status`` as a strategic merge patch that replaces the addresses; merging would add a new one to the old."""
    lists: Json = {key: [{"$patch": "replace"}, *status[key]] for key in ("podIPs", "hostIPs") if key in status}
    return {**status, **lists}
