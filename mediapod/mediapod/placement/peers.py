"""Who the other pods of the pipeline are: by DNS, or from a file where there is none."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from pathlib import Path
from typing import Protocol

RESOLVE_SECONDS = 5.0
PATIENCE_SECONDS = 0.2  # how long the first offer waits for the first answer
KEEP_SECONDS = 2.0
RETRY_SECONDS = 10.0  # without a resolver each try may take a thread for seconds


class Peers(Protocol):
    """Finds the pods of the pipeline."""

    async def addresses(self) -> list[str]:
        """ "host:port" of their admin ports, this pod among them perhaps; empty when nobody can be found."""


class PeersByDns:
    """The addresses of a headless Service; all pods have the same admin port.

    A slow or missing resolver costs no offer more than a moment: what was found before is used while it is asked anew.
    """

    def __init__(self, name: str, port: int) -> None:
        self._name, self._port = name, port
        self._known: list[str] = []
        self._due = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def addresses(self) -> list[str]:
        """See Peers."""
        if self._asking is None and time.monotonic() >= self._due:
            self._asking = asyncio.get_running_loop().create_task(self._ask(), name="mediapod-peers")
        if self._asking is not None and not self._known:
            await asyncio.wait([self._asking], timeout=PATIENCE_SECONDS)
        return self._known

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
            self._known = sorted({_joined(str(address[0]), self._port) for *_, address in found})
            self._due = time.monotonic() + KEEP_SECONDS
        except OSError:  # no such name (yet), no resolver, or TimeoutError: then there are no peers
            self._known = []
            self._due = time.monotonic() + RETRY_SECONDS
        finally:
            self._asking = None


class PeersInFile:
    """One "host:port" in each line; read anew each time, so that whoever keeps the file needs to tell nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def addresses(self) -> list[str]:
        """See Peers."""
        try:
            lines = self._path.read_text().split()
        except OSError:
            return []
        return sorted(set(lines))


def find_peers(setting: str, admin_port: int) -> Peers | None:
    """What MEDIAPOD_PEERS means: a path, a DNS name, or nothing."""
    if not setting:
        return None
    return PeersInFile(Path(setting)) if "/" in setting else PeersByDns(setting, admin_port)


def owner_of(address: str) -> str:
    """The name of a pod in session URLs. It tells no address, and leads to none but those of known peers."""
    return hashlib.sha256(address.encode()).hexdigest()[:10]


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
