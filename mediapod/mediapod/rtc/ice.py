"""Which sockets a session opens and which addresses it tells the peer."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from dataclasses import dataclass
from typing import cast

from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection, get_host_addresses

from mediapod.rtc.compat import GuardedProtocol, keep_socket
from mediapod.rtc.datagrams import open_media_socket
from mediapod.rtc.errors import MediaUnavailable
from mediapod.rtc.relay import Relay

RECEIVE_BUFFER_BYTES = 1 << 20  # a 1080p keyframe of some hundred packets arrives at once
LOOPBACK = "127.0.0.1"


class NoMediaPort(MediaUnavailable):
    """Every port of the configured media port range is taken, or the address cannot be bound."""


@dataclass(frozen=True, slots=True)
class MediaAddress:
    """Where media sockets are bound and what candidates say.

    bind: an address of this host, or "0.0.0.0" for every interface; ports: first and last port, None: any free one;
    advertised: further addresses (NAT, node) at which the same ports are reached; relay: the TURN servers that lend
    addresses, instead of all this.
    """

    bind: str
    ports: tuple[int, int] | None = None
    advertised: tuple[str, ...] = ()
    relay: Relay | None = None

    async def open(self, connection: Connection, component: int) -> list[Candidate]:
        """Open the sockets of one ICE component. Raises MediaUnavailable."""
        if self.relay is not None:
            return await self.relay.open(connection, component)
        candidates: list[Candidate] = []
        for address in self._addresses():
            protocol = self._bind(connection, address)
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = _host_candidate(component, host, port)
            keep_socket(connection, protocol)
            candidates.append(protocol.local_candidate)
            candidates.extend(_host_candidate(component, other, port) for other in self.advertised)
        return candidates

    def _addresses(self) -> list[str]:
        if not ipaddress.ip_address(self.bind).is_unspecified:
            return [self.bind]
        return get_host_addresses(use_ipv4=True, use_ipv6=False) or [LOOPBACK]

    def _bind(self, connection: Connection, address: str) -> GuardedProtocol:
        loop = asyncio.get_running_loop()
        problem: OSError | None = None
        for port in self._port_order():
            try:
                transport, protocol = open_media_socket(
                    loop, (address, port), RECEIVE_BUFFER_BYTES, lambda: GuardedProtocol(connection)
                )
            except OSError as error:
                problem = error
                continue
            guarded = cast("GuardedProtocol", protocol)
            guarded.transport = transport
            return guarded
        why = f"no UDP port for media at {address} (range {self.ports or 'any'}): {problem}"
        raise NoMediaPort(why, "no media port is free")

    def _port_order(self) -> list[int]:
        if self.ports is None:
            return [0]
        ports = list(range(self.ports[0], self.ports[1] + 1))
        start = random.randrange(len(ports))  # noqa: S311  spreads the ports, keeps no secret
        return ports[start:] + ports[:start]


def _host_candidate(component: int, host: str, port: int) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "host"),
        host=host,
        port=port,
        type="host",
    )
