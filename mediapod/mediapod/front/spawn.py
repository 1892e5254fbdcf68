"""Starts a child process with the sockets that it needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from mediapod.front.member import Member
from mediapod.ipc.listener import Listener, listen_unseen, path_of
from mediapod.ipc.orders import Orders
from mediapod.ipc.packets import packet_pair

CONNECTIONS = httpx.Limits(max_connections=128, max_keepalive_connections=16, keepalive_expiry=2.0)
# The server's side keeps connections for 5 s: ours is given up sooner, so that no request meets a closing one.

ADDRESS_SECONDS = 5.0  # longer than connecting may take


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. device: the descriptor that leads to the device process; frames: its listening socket;
    environment: what differs from the front's.
    """

    module: str
    name: str
    owner: str = ""
    cpu: int | None = None
    device: int | None = None
    frames: int | None = None
    wanted_device: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


async def spawn(command: Command) -> Member:
    """Start the process. Raises OSError."""
    with contextlib.ExitStack() as handed_over:
        ours, theirs = packet_pair()
        handed_over.callback(theirs.close)
        admin, http = _listener(handed_over), _listener(handed_over)
        orders = _orders(command, theirs, admin, http)
        descriptors = [d for d in (orders.control, orders.admin, orders.http, orders.device, orders.frames) if d]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", command.module, orders.model_dump_json()),
            pass_fds=descriptors,
            env={**os.environ, **command.environment},
            stdin=DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is for the front, which ends the others in order
        )
        member = Member(command.name, process, _Way(admin), _Way(http))
        member.tether(ours)
        return member


def _listener(handed_over: contextlib.ExitStack) -> Listener:
    listener = listen_unseen(socket.SOCK_STREAM)
    handed_over.callback(listener.close_socket)  # once the process is gone, connecting fails at once
    return listener


def _orders(command: Command, control: socket.socket, admin: Listener, http: Listener) -> Orders:
    return Orders(
        name=command.name,
        parent=os.getpid(),
        control=control.fileno(),
        admin=admin.listening.fileno(),
        http=http.listening.fileno(),
        frames=command.frames,
        device=command.device,
        owner=command.owner,
        cpu=command.cpu,
        wanted_device=command.wanted_device,
    )


class _Way(httpx.AsyncHTTPTransport):
    """HTTP to a process. Not a client: that would keep one user's cookies for the next."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(uds=path_of(listener.address), limits=CONNECTIONS)
        self._listener = listener

    async def aclose(self) -> None:
        """Close the connections, and the address when nobody can be about to connect to it: its number is given to
        another descriptor then, which might lead to another socket.
        """
        await super().aclose()
        asyncio.get_running_loop().call_later(ADDRESS_SECONDS, self._listener.close)
