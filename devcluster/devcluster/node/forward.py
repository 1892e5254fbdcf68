"""Passes one TCP connection on to another address, both ways."""

import asyncio
import contextlib
import socket
import struct

from devcluster.node.endpoints import Address

CONNECT_SECONDS = 5.0
HALF_CLOSED_SECONDS = 60.0
_CHUNK_BYTES = 65536
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with a TCP reset, so that the peer sees an error and not the end of data."""
    if connection := writer.get_extra_info("socket"):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def forward(client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter, target: Address) -> None:
    """Connects to ``target`` and copies until both directions have ended; a failure resets the client's connection.

    A direction that ends is passed on as such (half-close); the other one may then be silent for a minute at most.
    """
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(*target), CONNECT_SECONDS)
    except (OSError, TimeoutError):
        reset(client_writer)
        return
    _tune(client_writer)
    _tune(writer)
    try:
        await _copy_both((client_reader, writer), (reader, client_writer))
    except (OSError, TimeoutError):
        reset(client_writer)
        reset(writer)
    finally:
        for side in (client_writer, writer):
            side.close()


def _tune(writer: asyncio.StreamWriter) -> None:
    """No delay for small messages; keep-alives find peers that are gone."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


_Direction = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _copy_both(*directions: _Direction) -> None:
    half_closed = asyncio.Event()
    tasks = [asyncio.create_task(_copy(*direction, half_closed)) for direction in directions]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, half_closed: asyncio.Event) -> None:
    while chunk := await _read(reader, half_closed):
        writer.write(chunk)
        await writer.drain()  # a slow receiver slows the sender down
    half_closed.set()
    if writer.can_write_eof():
        writer.write_eof()


async def _read(reader: asyncio.StreamReader, half_closed: asyncio.Event) -> bytes:
    """The next bytes. Raises TimeoutError when the other direction has ended and nothing comes for a minute."""
    reading = asyncio.ensure_future(reader.read(_CHUNK_BYTES))
    closing = asyncio.ensure_future(half_closed.wait())
    try:
        await asyncio.wait({reading, closing}, return_when=asyncio.FIRST_COMPLETED)
        return await asyncio.wait_for(reading, HALF_CLOSED_SECONDS)
    finally:
        closing.cancel()
        reading.cancel()
