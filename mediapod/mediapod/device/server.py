"""Accepts the media workers' connections."""

from __future__ import annotations

import asyncio
import socket

from mediapod.device.connection import Connection, Service


class DeviceServer:
    """Serves every connection on a listening socket (SOCK_SEQPACKET)."""

    def __init__(self, listening: socket.socket, service: Service) -> None:
        listening.setblocking(False)
        self._listening, self._service = listening, service
        self._serving: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            connected, _ = await loop.sock_accept(self._listening)
            connected.setblocking(False)
            serving = loop.create_task(Connection(connected, self._service).serve(), name="mediapod-device-connection")
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    async def close(self) -> None:
        """End all connections, and listen no longer."""
        for serving in self._serving:
            serving.cancel()
        if self._serving:
            await asyncio.wait(self._serving, timeout=1)
        self._listening.close()
