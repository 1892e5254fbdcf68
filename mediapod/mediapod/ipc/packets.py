"""A Unix socket that keeps messages apart (SOCK_SEQPACKET), on the event loop. Sending never waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

MESSAGE_BYTES = 64 * 1024
BURST_MESSAGES = 64  # read in one go; then others have their turn


def packet_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class PacketSocket:
    """One end of a connection. Hands messages to `on_message`; `on_close` is called once, when the other end is gone or
    `close` was called.
    """

    def __init__(
        self, connected: socket.socket, on_message: Callable[[bytes], None], on_close: Callable[[], None]
    ) -> None:
        self._socket, self._on_message, self._on_close = connected, on_message, on_close
        self._loop = asyncio.get_running_loop()
        self.closed = False
        connected.setblocking(False)
        self._loop.add_reader(connected.fileno(), self._readable)

    def send(self, message: bytes) -> bool:
        """Send one message of at least one byte; False when the other end is gone or does not read."""
        if self.closed:
            return False
        try:
            self._socket.send(message)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Close this end. Safe to call twice."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._on_close()

    def _readable(self) -> None:
        for _ in range(BURST_MESSAGES):
            if self.closed:
                return
            try:
                message = self._socket.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self.close()
                return
            self._on_message(message)
