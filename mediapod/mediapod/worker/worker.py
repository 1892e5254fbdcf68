"""The mediapod of one process as part of a pod: tethered to its front, on sockets instead of ports."""

from __future__ import annotations

import asyncio
import json

import structlog

from mediapod.ipc.listener import inherited, path_of
from mediapod.ipc.orders import Orders
from mediapod.ipc.tether import Tether
from mediapod.service import Part
from mediapod.settings import Settings
from mediapod.whole import build

log = structlog.get_logger(__name__)


class Worker:
    """See Pod. Raises CannotRun."""

    def __init__(self, settings: Settings, orders: Orders, stopping: asyncio.Event) -> None:
        self._mediapod = build(settings, _part(orders))
        self._tether = Tether(orders.control, self._mediapod.status, self._on_order, stopping.set)
        self._beats: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve the front."""
        self._beats = asyncio.get_running_loop().create_task(self._tether.run(), name="mediapod-beats")
        await self._mediapod.start()
        log.info("media worker ready", device=self._mediapod.engine.device)

    async def drain(self) -> None:
        """Nothing to wait for: the front has drained the pod."""

    async def stop(self) -> None:
        """End all sessions."""
        await self._mediapod.stop()
        if self._beats is not None:
            self._beats.cancel()
        self._tether.close()

    def _on_order(self, message: bytes) -> None:
        """The only order: the simulated device of /process on or off, as in all other workers."""
        self._mediapod.simulation.on = bool(json.loads(message)["simulation"])


def _part(orders: Orders) -> Part:
    if orders.http is None:
        raise ValueError("a media worker needs a socket for http")
    device = None if orders.device is None else path_of(orders.device)
    return Part(orders.owner, inherited(orders.http), inherited(orders.admin), device)
