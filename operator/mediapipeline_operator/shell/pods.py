"""The mediapod's admin API: how many sessions a pod has, and the request to drain or to take new sessions again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp

from mediapipeline_operator.api import labels

_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
_PARALLEL = 32


@dataclass(frozen=True, slots=True)
class PodAnswer:
    """What a pod says of itself. `sessions`: active and pending."""

    sessions: int
    draining: bool


class PodAdmin:
    """Calls pods directly by address.

    A pod that does not answer within two seconds has not answered: None, never an exception.
    """

    def __init__(self, port: int = labels.ADMIN_PORT) -> None:
        self._port = port
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> PodAdmin:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, connector=aiohttp.TCPConnector(limit=_PARALLEL))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def sessions(self, address: str) -> PodAnswer | None:
        """GET /sessions of the pod at `address`."""
        body = await self._call("GET", address, "/sessions")
        return None if body is None else _answer(body)

    async def sessions_of(self, addresses: Iterable[str]) -> Mapping[str, PodAnswer]:
        """The same for many pods at once; those without an answer are left out."""
        asked = tuple(addresses)
        answers = await asyncio.gather(*(self.sessions(address) for address in asked))
        return {address: answer for address, answer in zip(asked, answers, strict=True) if answer is not None}

    async def drain(self, address: str) -> bool:
        """POST /drain: the pod takes no new sessions. False: no answer, to be tried again."""
        return await self._call("POST", address, "/drain") is not None

    async def undrain(self, address: str) -> bool:
        """DELETE /drain: the pod takes new sessions again."""
        return await self._call("DELETE", address, "/drain") is not None

    async def _call(self, method: str, address: str, path: str) -> Mapping[str, Any] | None:
        if self._session is None:
            raise RuntimeError("PodAdmin is used outside `async with`")
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._slots, self._session.request(method, f"http://{host}:{self._port}{path}") as response:
                body = await response.json() if response.status < 300 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
        return body if isinstance(body, Mapping) else None


def _answer(body: Mapping[str, Any]) -> PodAnswer | None:
    """An answer without numbers is no answer: unknown is never zero."""
    active, pending, draining = body.get("active"), body.get("pending"), body.get("draining")
    if not isinstance(active, int) or not isinstance(pending, int) or not isinstance(draining, bool):
        return None
    return PodAnswer(active + pending, draining)
