"""Media sockets that know when the kernel got a datagram.

An event loop reads a socket when its turn comes; under load that is tens of milliseconds after the datagram arrived.
With the kernel's own time stamps (SO_TIMESTAMPNS) the age of a frame includes that wait, so that a busy loop shows in
the metrics and makes frames late instead of looking young.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>, the 64 bit form; missing in Python's socket module
TIMESPEC = struct.Struct("qq")
ANCILLARY_BYTES = socket.CMSG_SPACE(TIMESPEC.size)
DATAGRAM_BYTES = 2048  # more than any path of WebRTC carries
BURST_DATAGRAMS = 64  # read in one go; then others have their turn
OLDEST_SECONDS = 5.0  # beyond it the wall clock was set, not the datagram delayed


class TimedDatagram(bytes):
    """A datagram with the time of its arrival in time.monotonic() seconds."""

    arrived: float


class MediaSocket(asyncio.DatagramTransport):
    """A bound UDP socket on the event loop; hands TimedDatagrams to its protocol. Sending never waits: what the kernel
    has no room for is lost, as it would be on the way.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, bound: socket.socket, protocol: asyncio.DatagramProtocol
    ) -> None:
        super().__init__({"socket": bound, "sockname": bound.getsockname()})
        self._loop, self._socket, self._protocol = loop, bound, protocol
        self._closing = False
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        loop.add_reader(bound.fileno(), self._readable)
        loop.call_soon(protocol.connection_made, self)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send one datagram to `addr` (host, port)."""
        if self._closing:
            return
        try:
            self._socket.sendto(data, addr)
        except BlockingIOError:
            return
        except OSError as error:
            self._protocol.error_received(error)

    def close(self) -> None:
        """Close the socket; the protocol hears of it on the next turn of the loop."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.call_soon(self._finish)

    def abort(self) -> None:
        """See close; nothing is ever buffered."""
        self.close()

    def is_closing(self) -> bool:
        """Whether close was called."""
        return self._closing

    def _finish(self) -> None:
        self._socket.close()
        self._protocol.connection_lost(None)

    def _readable(self) -> None:
        receive, offset = self._socket.recvmsg, time.monotonic() - time.time()
        for _ in range(BURST_DATAGRAMS):
            if self._closing:
                return
            try:
                data, ancillary, _, address = receive(DATAGRAM_BYTES, ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._protocol.error_received(error)
                return
            datagram = TimedDatagram(data)
            datagram.arrived = arrival_of(ancillary, offset, time.monotonic())
            self._protocol.datagram_received(datagram, address)


def arrival_of(ancillary: list[tuple[int, int, bytes]], offset: float, now: float) -> float:
    """The kernel's time stamp in time.monotonic() seconds; `now` where there is none or it cannot be right.

    offset: monotonic minus wall clock, in seconds.
    """
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack_from(data)
            arrived = float(seconds) + nanoseconds / 1e9 + offset
            return arrived if now - OLDEST_SECONDS < arrived <= now else now
    return now


def open_media_socket(
    loop: asyncio.AbstractEventLoop,
    address: tuple[str, int],
    receive_buffer_bytes: int,
    make_protocol: Callable[[], asyncio.DatagramProtocol],
) -> tuple[MediaSocket, asyncio.DatagramProtocol]:
    """Bind a media socket. Raises OSError when the address or port cannot be had."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.bind(address)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    except OSError:
        bound.close()
        raise
    protocol = make_protocol()
    return MediaSocket(loop, bound, protocol), protocol
