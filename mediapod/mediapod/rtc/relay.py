"""Relayed media: a session's only address is one that a TURN server lends to the pod (media mode Relay)."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import Any

import structlog
from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection
from aioice.stun import TransactionError, TransactionFailed

from mediapod.rtc.compat import GuardedProtocol, keep_socket
from mediapod.rtc.datagrams import open_media_socket
from mediapod.rtc.errors import MediaUnavailable
from mediapod.rtc.relay_socket import RelayClient, RelaySocket, RelayTcpClient, RelayUdpClient
from mediapod.rtc.turn import TurnServer, TurnServers

log = structlog.get_logger(__name__)

ALLOCATE_SECONDS = 2.0  # for one server; two retransmissions fit in
RECEIVE_BUFFER_BYTES = 1 << 20
PROVE_SECONDS = 5.0
HIDDEN = ("0.0.0.0", 9)  # noqa: S104  RFC 8839 section 5.1: the related address, where it is nobody's business
UNAUTHORIZED = 401
_SHARED = (
    "MEDIAPOD_TURN_SECRET (key secret of the Secret turnSecretName) must be the server's static-auth-secret, and both "
    "clocks must agree"
)
_STATIC = (
    "MEDIAPOD_TURN_USERNAME and MEDIAPOD_TURN_PASSWORD (keys username and password of the Secret turnSecretName) must "
    "be those of one of the server's users"
)


class NoRelay(MediaUnavailable):
    """No TURN server lends an address; the message says of each why, and what would help."""


class Relay:
    """The TURN servers that sessions of this pod are reached by. bind: the address that they are asked from."""

    def __init__(self, servers: TurnServers, bind: str) -> None:
        self._turn, self._bind = servers, bind
        self._servers = [TurnServer.parse(uri) for uri in servers.uris]
        self.unproven = "no TURN server has lent an address yet"  # empty as soon as one has

    async def open(self, connection: Connection, component: int) -> list[Candidate]:
        """Open the one socket of an ICE component. Raises NoRelay."""
        client = await self._allocated()
        protocol = GuardedProtocol(connection)
        protocol.local_candidate = _candidate(component, client)
        RelaySocket(client, protocol)
        keep_socket(connection, protocol)
        return [protocol.local_candidate]

    async def prove(self) -> None:
        """Take an address and give it back, again and again until a server lends one.

        A pod with a wrong secret is thus never ready, and a rollout stops at it while the old pods serve on. Once
        proven it stays so: a TURN server that is down for a while must not take the pods out of their Service.
        """
        while self.unproven:
            try:
                RelaySocket(await self._allocated(), asyncio.DatagramProtocol()).close()
                self.unproven = ""
            except NoRelay as error:
                self.unproven = str(error)
                log.warning("no TURN server lends an address", error=str(error))
                await asyncio.sleep(PROVE_SECONDS)

    async def _allocated(self) -> RelayClient:
        """From the first server that has an address; those that fail are asked last from then on."""
        problems = []
        for server in tuple(self._servers):
            try:
                return await self._allocate(server)
            except (TransactionError, OSError) as error:  # TimeoutError is an OSError
                problems.append(f"TURN server {server.uri} {self._why(error)}")
                self._servers = [*(one for one in self._servers if one is not server), server]
        why = "; ".join(problems)
        raise NoRelay(why, f"the pod has no address for media: {why}")

    async def _allocate(self, server: TurnServer) -> RelayClient:
        username, password = self._turn.credentials(f"pod-{secrets.token_hex(4)}", time.time())
        async with asyncio.timeout(ALLOCATE_SECONDS):
            client = await self._connected(server, username, password)
            try:
                await client.connect()
            except BaseException:
                client.transport.close()
                raise
        return client

    async def _connected(self, server: TurnServer, username: str, password: str) -> RelayClient:
        loop = asyncio.get_running_loop()
        kind = socket.SOCK_DGRAM if server.transport == "udp" else socket.SOCK_STREAM
        found = await loop.getaddrinfo(server.host, server.port, type=kind)
        address = str(found[0][4][0]), int(found[0][4][1])
        if server.transport == "udp":
            return self._udp(loop, address, username, password)
        options: dict[str, Any] = {"ssl": True, "server_hostname": server.host} if server.tls else {}
        _, client = await loop.create_connection(
            lambda: RelayTcpClient(address, username, password), *address, local_addr=self._local(address), **options
        )
        return client

    def _udp(
        self, loop: asyncio.AbstractEventLoop, address: tuple[str, int], username: str, password: str
    ) -> RelayUdpClient:
        local = self._local(address) or (("::" if ":" in address[0] else "0.0.0.0"), 0)  # noqa: S104  any interface
        client = RelayUdpClient(address, username, password)
        client.transport, _ = open_media_socket(loop, local, RECEIVE_BUFFER_BYTES, lambda: client)
        return client

    def _local(self, server: tuple[str, int]) -> tuple[str, int] | None:
        """Where the socket to `server` is bound; None: wherever the way there begins."""
        same_family = (":" in self._bind) == (":" in server[0])
        return (self._bind, 0) if same_family and self._bind not in ("0.0.0.0", "::") else None  # noqa: S104

    def _why(self, error: Exception) -> str:
        if isinstance(error, TransactionFailed):
            code, reason = error.response.attributes.get("ERROR-CODE", (0, "no reason given"))
            hint = f": {_SHARED if self._turn.secret else _STATIC}" if code == UNAUTHORIZED else ""
            return f"refuses to lend an address ({code} {reason}){hint}"
        if isinstance(error, TimeoutError):
            return f"does not answer within {ALLOCATE_SECONDS:g} s"
        return f"cannot be reached ({error})"


def _candidate(component: int, client: RelayClient) -> Candidate:
    host, port = client.relayed_address or HIDDEN
    return Candidate(
        foundation=candidate_foundation("relay", "udp", host),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "relay"),
        host=host,
        port=port,
        type="relay",
        related_address=HIDDEN[0] if ":" not in host else "::",
        related_port=HIDDEN[1],
    )
