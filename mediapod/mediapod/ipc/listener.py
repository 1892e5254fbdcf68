"""Listening Unix sockets without a name in any file system.

Bound in a folder that only this user can enter, opened with O_PATH, and unlinked at once: whoever holds that descriptor
connects through /proc/self/fd, nobody else can, and no end of a process, kill -9 included, leaves anything behind.
(Abstract names would leave nothing either, but every container of the pod could connect to them.)
"""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

BACKLOG = 256


@dataclass(slots=True)
class Listener:
    """A listening socket and the descriptor that leads to it. Both may be handed to child processes."""

    listening: socket.socket
    address: int

    def close_socket(self) -> None:
        """Stop listening here. The address stays usable while another process listens on the same socket."""
        self.listening.close()

    def close(self) -> None:
        """Give up the socket and the address."""
        self.listening.close()
        if self.address >= 0:
            os.close(self.address)
            self.address = -1


def path_of(address: int) -> str:
    """The path under which this process connects to a Listener's address."""
    return f"/proc/self/fd/{address}"


def listen_unseen(kind: socket.SocketKind) -> Listener:
    """A new listening socket of `kind` (SOCK_STREAM or SOCK_SEQPACKET). Raises OSError."""
    listening = socket.socket(socket.AF_UNIX, kind)
    try:
        with tempfile.TemporaryDirectory(prefix="mediapod-") as folder:
            path = Path(folder) / "socket"
            listening.bind(str(path))
            listening.listen(BACKLOG)
            address = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return Listener(listening, address)


def inherited(descriptor: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """The listening socket that came from the parent under this number."""
    listening = socket.socket(socket.AF_UNIX, kind, fileno=descriptor)
    listening.setblocking(False)
    return listening
