"""Leader election on a coordination.k8s.io Lease.

A Lease gives no fencing token, so the leader fences itself: a write may start only while the last renewal that the API
server confirmed was *sent* less than lease duration - request time-out ago, on the monotonic clock. Others' expiry is
judged by how long their record has not moved on our own clock, never by their wall clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from mediapipeline_operator.shell.backoff import jittered
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.errors import ClusterError, ConflictError, NotFoundError
from mediapipeline_operator.shell.cluster.kinds import LEASE
from mediapipeline_operator.shell.cluster.transport import Transport

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """`duration_seconds`: how long a silent leader is believed. Renewal and retry are well below it."""

    namespace: str
    name: str
    identity: str
    duration_seconds: float = 12.0
    renew_seconds: float = 2.0
    retry_seconds: float = 0.5  # of a candidate: one small read


class Lease:
    """Call `acquire`, then keep `renew_until_lost` running; `held` says whether a write may start now."""

    def __init__(self, transport: Transport, settings: LeaseSettings, clock: Clock) -> None:
        self._transport = transport
        self._settings = settings
        self._clock = clock
        self._record: dict[str, Any] = {}
        self._record_seen = 0.0  # when the record was last seen to change
        self._renewed: float | None = None  # when the last confirmed renewal was sent

    @property
    def held(self) -> bool:
        """Whether a write that starts now ends before anybody else may take over."""
        safe = self._settings.duration_seconds - self._transport.request_timeout_seconds
        return self._renewed is not None and self._clock.monotonic() - self._renewed < safe

    @property
    def identity(self) -> str:
        """Who we are in the Lease."""
        return self._settings.identity

    async def acquire(self) -> None:
        """Returns once this process leads."""
        while not await self._attempt():  # noqa: ASYNC110  the Lease is in the cluster, no event tells of it
            await asyncio.sleep(jittered(self._settings.retry_seconds, 0.3))
        log.info("leadership_acquired", identity=self._settings.identity, lease=self._settings.name)

    async def renew_until_lost(self) -> None:
        """Renews until somebody else holds the Lease, or it could not be renewed for its whole duration."""
        while True:
            await asyncio.sleep(self._settings.renew_seconds)
            if not await self._attempt() and self._lost():
                self._renewed = None
                log.warning("leadership_lost", identity=self._settings.identity, lease=self._settings.name)
                return

    async def release(self) -> None:
        """Gives the Lease up, so that another process leads at once. Best effort."""
        if self._renewed is None:
            return
        self._renewed = None
        try:
            await self._give_up()
            log.info("leadership_released", identity=self._settings.identity, lease=self._settings.name)
        except ClusterError as error:
            log.warning("lease_not_released", error=str(error))

    async def _give_up(self) -> None:
        try:
            await self._put(holder="", duration_seconds=1)
        except ConflictError:  # a renewal that was cut short may have been carried out
            await self._look()
            if self._holder() != self._settings.identity:
                raise
            await self._put(holder="", duration_seconds=1)

    def _lost(self) -> bool:
        if self._holder() not in ("", self._settings.identity):
            return True
        return self._renewed is None or self._clock.monotonic() - self._renewed >= self._settings.duration_seconds

    async def _attempt(self) -> bool:
        """One try to take or renew the Lease. Network trouble is not a loss yet."""
        sent = self._clock.monotonic()
        try:
            if self._holder() != self._settings.identity:
                await self._look()
                if not self._free():
                    return False
            await self._put(self._settings.identity, round(self._settings.duration_seconds))
        except ConflictError:
            self._record = {}
            return False
        except ClusterError as error:
            log.warning("lease_unreachable", error=str(error))
            return False
        self._renewed = sent
        return True

    async def _look(self) -> None:
        try:
            found = await self._transport.request("GET", self._path())
        except NotFoundError:
            found = {}
        if found.get("metadata", {}).get("resourceVersion") != self._version():
            self._record_seen = self._clock.monotonic()
        self._record = found

    def _free(self) -> bool:
        holder = self._holder()
        if holder in ("", self._settings.identity):
            return True
        patience = float(self._spec().get("leaseDurationSeconds") or self._settings.duration_seconds)
        return self._clock.monotonic() - self._record_seen >= patience

    async def _put(self, holder: str, duration_seconds: int) -> None:
        body = self._body(holder, duration_seconds)
        if self._version():
            self._record = await self._transport.request("PUT", self._path(), body=body)
        else:
            self._record = await self._transport.request("POST", LEASE.collection(self._settings.namespace), body=body)

    def _body(self, holder: str, duration_seconds: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = self._spec()
        same = old.get("holderIdentity") == holder
        changes = int(old.get("leaseTransitions") or 0)
        meta = {"name": self._settings.name, "namespace": self._settings.namespace}
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": {**meta, "resourceVersion": self._version()} if self._version() else meta,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": duration_seconds,
                "acquireTime": old.get("acquireTime") if same else now,
                "renewTime": now,
                "leaseTransitions": changes if same or not holder else changes + 1,
            },
        }

    def _path(self) -> str:
        return LEASE.item(self._settings.namespace, self._settings.name)

    def _spec(self) -> Mapping[str, Any]:
        return self._record.get("spec") or {}

    def _holder(self) -> str:
        return str(self._spec().get("holderIdentity") or "")

    def _version(self) -> str:
        return str(self._record.get("metadata", {}).get("resourceVersion") or "")
