"""JSON requests to the API server over one pooled connection set. Every request has a time-out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec

from mediapipeline_operator.shell.cluster.credentials import Credentials
from mediapipeline_operator.shell.cluster.errors import UnauthorizedError, UnreachableError, api_error

Query = Mapping[str, str | int]
_CONNECTIONS = 32
_REREAD_SECONDS = 1.0
_LINE_BYTES = 4 * 1024 * 1024  # one watch event; etcd limits an object to 1.5 MiB


class Transport:
    """Sends requests with our credentials. Open it as an async context manager."""

    def __init__(self, credentials: Credentials, *, request_timeout_seconds: float = 5.0, user_agent: str) -> None:
        self.request_timeout_seconds = request_timeout_seconds
        self._credentials = credentials
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._reread_at = 0.0

    async def __aenter__(self) -> Transport:
        tls = self._credentials.ssl_context()
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=True if tls is None else tls)
        # Compressed lists cost the API server and us more time than a cluster's network needs for them as they are.
        headers = {"User-Agent": self._user_agent, "Accept": "application/json", "Accept-Encoding": "identity"}
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=_LINE_BYTES)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """One request, its JSON answer. Raises ApiError by status, UnreachableError when no answer came in time."""
        timeout = aiohttp.ClientTimeout(total=timeout_seconds or self.request_timeout_seconds)
        data = None if body is None else msgspec.json.encode(body)
        headers = self._headers({} if data is None else {"Content-Type": content_type})
        try:
            async with self._open().request(
                method, self._url(path), params=query, data=data, headers=headers, timeout=timeout
            ) as response:
                return await _answer(response)
        except UnauthorizedError:
            self._refused()
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{method} {path}: {error or type(error).__name__}") from error

    async def lines(self, path: str, query: Query, *, silence_seconds: float) -> AsyncIterator[dict[str, Any]]:
        """The JSON lines of a watch.

        Ends when the server ends it; raises UnreachableError after `silence_seconds` without a line.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.request_timeout_seconds, sock_read=silence_seconds
        )
        try:
            async with self._open().get(
                self._url(path), params=query, headers=self._headers({}), timeout=timeout
            ) as response:
                if response.status >= 400:
                    await _answer(response)
                async for line in response.content:
                    if line.strip():
                        yield _event(line)
        except UnauthorizedError:
            self._refused()
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnreachableError(f"watch {path}: {error or type(error).__name__}") from error

    def _refused(self) -> None:
        """The token is read anew, but not for each of many requests: a kubeconfig may ask a program for it."""
        now = asyncio.get_running_loop().time()
        if now - self._reread_at >= _REREAD_SECONDS:
            self._reread_at = now
            self._credentials.refused()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the transport is used outside `async with`")
        return self._session

    def _url(self, path: str) -> str:
        return f"{self._credentials.server}{path}"

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        authorization = self._credentials.authorization()
        return headers if authorization is None else {**headers, "Authorization": authorization}


async def _answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """Raises UnreachableError for what is no answer of an API server, but of something in between."""
    data = await response.read()
    body = _json_object(data)
    if response.status >= 400:
        said = body or {"message": data[:500].decode(errors="replace")}
        raise api_error(response.status, said, _retry_after(response))
    if "kind" not in body:
        raise UnreachableError(f"{response.method} {response.url.path}: status {response.status} without an object")
    return body


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _event(line: bytes) -> dict[str, Any]:
    """One line of a watch. Raises ValueError for anything else."""
    event = msgspec.json.decode(line)
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict) or "type" not in event:
        raise ValueError("the line is no event")
    return event


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
