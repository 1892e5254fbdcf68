"""Media by way of a TURN server (RFC 8656): aioice's client, behind the interface of a socket.

aioice's own transport makes a task for every packet. Here a packet for a bound channel goes out at once, giving an
allocation back takes a bounded time, and what arrives by UDP keeps the kernel's time of arrival.
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any

import structlog
from aioice.stun import TransactionError
from aioice.turn import (
    DEFAULT_ALLOCATION_LIFETIME,
    DEFAULT_CHANNEL_REFRESH_TIME,
    TurnClientTcpProtocol,
    TurnClientUdpProtocol,
    is_channel_data,
)

from mediapod.rtc.datagrams import TimedDatagram

log = structlog.get_logger(__name__)

CHANNEL_HEADER = struct.Struct("!HH")  # channel number, length of the data
REBIND_SECONDS = (
    20.0  # a refresh of a channel that has failed is tried again after this; the channel lives 100 s longer
)
GIVE_BACK_SECONDS = 1.0  # then the server frees the allocation when it expires


class RelayUdpClient(TurnClientUdpProtocol):
    """Speaks TURN over a socket that is not connected: what does not come from the server is dropped."""

    def __init__(self, server: tuple[str, int], username: str, password: str) -> None:
        super().__init__(server, username, password, DEFAULT_ALLOCATION_LIFETIME, DEFAULT_CHANNEL_REFRESH_TIME)

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Hand the data of a channel on with its time of arrival; all else is aioice's."""
        if (addr[0], addr[1]) != self.server or len(data) < CHANNEL_HEADER.size or isinstance(data, str):
            return
        if not is_channel_data(data):
            super().datagram_received(data, self.server)
            return
        channel, length = CHANNEL_HEADER.unpack_from(data)
        peer, payload = self.channel_to_peer.get(channel), TimedDatagram(data[CHANNEL_HEADER.size :][:length])
        payload.arrived = data.arrived if isinstance(data, TimedDatagram) else time.monotonic()
        if self.receiver is not None and peer is not None and len(payload) == length:
            self.receiver.datagram_received(payload, peer)

    def send_on(self, channel: int, data: bytes) -> None:
        """Send on a bound channel."""
        self._send(CHANNEL_HEADER.pack(channel, len(data)) + data)

    def _send(self, data: bytes) -> None:
        self.transport.sendto(data, self.server)


class RelayTcpClient(TurnClientTcpProtocol):
    """Speaks TURN over TCP or TLS."""

    def __init__(self, server: tuple[str, int], username: str, password: str) -> None:
        super().__init__(server, username, password, DEFAULT_ALLOCATION_LIFETIME, DEFAULT_CHANNEL_REFRESH_TIME)

    def send_on(self, channel: int, data: bytes) -> None:
        """Send on a bound channel."""
        self._send(CHANNEL_HEADER.pack(channel, len(data)) + data)


RelayClient = RelayUdpClient | RelayTcpClient


class RelaySocket(asyncio.DatagramTransport):
    """An allocation on a TURN server, as the transport of `protocol`. Make it when the allocation is there."""

    def __init__(self, client: RelayClient, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__({"sockname": client.relayed_address})
        self._client, self._protocol = client, protocol
        self._sending: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        client.receiver = protocol
        protocol.connection_made(self)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send one datagram to `addr`; the first one to an address binds a channel for it."""
        client = self._client
        if self._closing is not None or client.transport.is_closing():
            return
        channel, now = client.peer_to_channel.get(addr), time.time()
        if channel is not None and now <= client.channel_refresh_at[channel]:
            client.send_on(channel, data)
            return
        if channel is not None:  # others go on while this packet refreshes the channel
            client.channel_refresh_at[channel] = now + REBIND_SECONDS
            client.send_on(channel, data)
        self._later(data, addr, channel)

    def _later(self, data: bytes, addr: tuple[str, int], channel: int | None) -> None:
        work = self._client.send_data(data, addr) if channel is None else self._refresh(channel, addr)
        task = asyncio.get_running_loop().create_task(work, name="mediapod-relay-send")
        self._sending.add(task)
        task.add_done_callback(self._sent)

    async def _refresh(self, channel: int, addr: tuple[str, int]) -> None:
        await self._client.channel_bind(channel, addr)
        self._client.channel_refresh_at[channel] = time.time() + self._client.channel_refresh_time

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._protocol.error_received(problem if isinstance(problem, Exception) else OSError(str(problem)))

    def close(self) -> None:
        """Give the allocation back; the protocol hears of it when that is done, or cannot be."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._give_back(), name="mediapod-relay-close")

    def abort(self) -> None:
        """See close; nothing is ever buffered."""
        self.close()

    def is_closing(self) -> bool:
        """Whether close was called."""
        return self._closing is not None

    async def _give_back(self) -> None:
        for task in tuple(self._sending):
            task.cancel()
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._client.delete()
        except (TimeoutError, OSError, TransactionError) as error:
            log.info("relayed address not given back, it expires", error=str(error), kind=type(error).__name__)
        finally:
            self._client.transport.close()
