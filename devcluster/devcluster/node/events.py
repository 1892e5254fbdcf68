"""Kubernetes events about pods and Services: best effort, never in the way of the work."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from devcluster.node.api import MERGE, ApiClient, ApiError
from devcluster.node.json_types import Json
from devcluster.node.status import format_time

_log = structlog.get_logger(__name__)
_QUEUE_SIZE = 200
_REMEMBERED = 256
_LARGEST_MESSAGE = 1000


@dataclass(frozen=True)
class Occurrence:
    """Something that users should see at ``subject`` (an object of the API)."""

    kind: str
    namespace: str
    name: str
    uid: str
    warning: bool
    reason: str
    message: str


class EventRecorder:
    """Writes events one after the other; repeated ones count up, and what comes too fast is dropped."""

    def __init__(self, client: ApiClient, node_name: str) -> None:
        self._client, self._node_name = client, node_name
        self._queue: asyncio.Queue[Occurrence] = asyncio.Queue(_QUEUE_SIZE)
        self._written: OrderedDict[Occurrence, tuple[str, int]] = OrderedDict()

    def record(self, kind: str, subject: Json, reason: str, message: str, *, warning: bool = False) -> None:
        """Queues an event about ``subject``."""
        metadata = subject["metadata"]
        occurrence = Occurrence(
            kind, metadata["namespace"], metadata["name"], metadata["uid"], warning, reason, message[:_LARGEST_MESSAGE]
        )
        if not self._queue.full():
            self._queue.put_nowait(occurrence)

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            occurrence = await self._queue.get()
            try:
                await self._write(occurrence)
            except ApiError as error:
                self._written.pop(occurrence, None)
                _log.debug("event not written", reason=occurrence.reason, error=str(error))

    async def _write(self, occurrence: Occurrence) -> None:
        path = f"/api/v1/namespaces/{occurrence.namespace}/events"
        now = format_time(datetime.now(UTC))
        name, count = self._written.get(occurrence, ("", 0))
        if name:
            await self._client.patch(f"{path}/{name}", {"count": count + 1, "lastTimestamp": now}, MERGE)
        else:
            name = (await self._client.post(path, self._event(occurrence, now)))["metadata"]["name"]
        self._written[occurrence] = (name, count + 1)
        self._written.move_to_end(occurrence)
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    def _event(self, occurrence: Occurrence, now: str) -> Json:
        subject = {
            "apiVersion": "v1",
            "kind": occurrence.kind,
            "namespace": occurrence.namespace,
            "name": occurrence.name,
            "uid": occurrence.uid,
        }
        return {
            "metadata": {"generateName": f"{occurrence.name}.", "namespace": occurrence.namespace},
            "involvedObject": subject,
            "type": "Warning" if occurrence.warning else "Normal",
            "reason": occurrence.reason,
            "message": occurrence.message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "devcluster-node", "host": self._node_name},
        }
