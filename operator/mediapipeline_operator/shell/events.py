"""Kubernetes events: best effort, never in the way of a pass, equal ones only once in a while."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import structlog

from mediapipeline_operator.api import labels
from mediapipeline_operator.core.scaling.state import rfc3339
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.errors import ClusterError
from mediapipeline_operator.shell.cluster.writer import Writer

_WAITING = 1000
_REPEAT_SECONDS = 300.0
_MESSAGE_LENGTH = 1024  # the API server's limit

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventAbout:
    """One event about the pipeline `name`; `type` is Normal or Warning."""

    namespace: str
    name: str
    uid: str
    reason: str
    type: str
    message: str


class EventPoster:
    """`post` never blocks: when the API server is slow, further events are dropped and counted in the log."""

    def __init__(self, writer: Writer, clock: Clock, identity: str) -> None:
        self._writer = writer
        self._clock = clock
        self._identity = identity
        self._waiting: asyncio.Queue[EventAbout] = asyncio.Queue(_WAITING)
        self._posted: dict[EventAbout, float] = {}

    def post(self, event: EventAbout) -> None:
        """Queues the event, unless the same was posted within five minutes."""
        now = self._clock.monotonic()
        self._posted = {known: at for known, at in self._posted.items() if now - at < _REPEAT_SECONDS}
        if event in self._posted:
            return
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("event_dropped", reason=event.reason, pipeline=f"{event.namespace}/{event.name}")
            return
        self._posted[event] = now

    async def run(self) -> None:
        """Posts until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._writer.post_event(event.namespace, self._manifest(event))
            except ClusterError as error:
                log.info("event_not_posted", reason=event.reason, error=str(error))

    def _manifest(self, event: EventAbout) -> dict[str, Any]:
        time = rfc3339(self._clock.now())
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{event.name}.{uuid.uuid4().hex[:16]}", "namespace": event.namespace},
            "involvedObject": {
                "apiVersion": labels.API_VERSION,
                "kind": labels.KIND,
                "name": event.name,
                "namespace": event.namespace,
                "uid": event.uid,
            },
            "reason": event.reason,
            "type": event.type,
            "message": event.message[:_MESSAGE_LENGTH],
            "source": {"component": labels.MANAGER},
            "reportingComponent": labels.MANAGER,
            "reportingInstance": self._identity,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
