"""What ties a child process to the front: it dies with it, tells it how it fares, and is told what to do.

Twice, so that nothing is left over whatever happens: the kernel kills the child when the front is gone
(PR_SET_PDEATHSIG), and the child ends when the control socket does.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass

from mediapod.ipc.packets import PacketSocket

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
BEAT_SECONDS = 0.5
LOOK_SECONDS = 0.1  # a change is told this soon


@dataclass(frozen=True, slots=True)
class Status:
    """One heartbeat. taken: sessions, pending ones counted; open: whether one more would be let in; room: whether one
    more had better come here; busy: share of its device or CPU; unready: why this process could not serve a session at
    all, empty: it could.
    """

    started: bool = False
    device: str = ""
    active: int = 0
    taken: int = 0
    capacity: int = 0
    open: bool = False
    room: bool = False
    busy: float = 0.0
    unready: str = ""

    def encode(self) -> bytes:
        """As a message."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, message: bytes) -> Status:
        """From a message. Raises ValueError or TypeError for anything else."""
        return cls(**json.loads(message))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the process `parent`, which started it, ends. Call it first of all."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before
        os._exit(1)


class Tether:
    """The child's end of the control socket. on_order: gets the front's messages; on_gone: called when it is gone."""

    def __init__(
        self,
        control: int,
        status: Callable[[], Status],
        on_order: Callable[[bytes], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._status = status
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=control)
        self._socket = PacketSocket(end, on_order, on_gone)

    async def run(self) -> None:
        """Tell the status when it changes and at least twice a second, until cancelled or the front is gone.

        The event loop that this runs on is the one that works: its silence means that the work stands still.
        """
        loop = asyncio.get_running_loop()
        told, at = None, float("-inf")
        while not self._socket.closed:
            status, now = self._status(), loop.time()
            if (status != told or now - at >= BEAT_SECONDS) and self._socket.send(status.encode()):
                told, at = status, now
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Let go."""
        self._socket.close()
