"""A small client of the Kubernetes API: requests with time-outs, lists in pages, watches."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from devcluster.node.json_types import Json
from devcluster.node.kubeconfig import Connection

PAGE_SIZE = 500
WATCH_SECONDS = 300
WATCH_SILENCE_SECONDS = 120  # bookmarks come about once a minute
LONGEST_WATCH_LINE_BYTES = 16 * 1024 * 1024

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server refused or could not be reached. ``status`` is the HTTP status, 0 without an answer.

    ApiError
     `- GoneError (410: the resourceVersion of a list or watch is too old)
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message


class GoneError(ApiError):
    """Watching cannot go on from this resourceVersion: list again."""


def _error(status: int, body: Json) -> ApiError:
    kind = GoneError if status == 410 else ApiError
    return kind(status, body.get("reason", ""), body.get("message", ""))


class ApiClient:
    """Use as an async context manager. All methods raise ApiError."""

    def __init__(self, connection: Connection, *, user_agent: str = "devcluster-node") -> None:
        self.connection = connection
        headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if connection.token:
            headers["Authorization"] = f"Bearer {connection.token}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=connection.ssl_context or True, limit=64),
            headers=headers,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        parameters: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout_seconds: float = 15,
    ) -> Json:
        """One request; returns the decoded answer."""
        data = None if body is None else json.dumps(body)
        try:
            async with self._session.request(
                method,
                self.connection.server + path,
                data=data,
                params=parameters,
                headers={"Content-Type": content_type},
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                answer = _decoded(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, type(error).__name__, str(error)) from error
        if response.status >= 400:
            raise _error(response.status, answer)
        return answer

    async def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Json:
        """GET."""
        return await self.request("GET", path, parameters=parameters)

    async def post(self, path: str, body: Json) -> Json:
        """POST."""
        return await self.request("POST", path, body=body)

    async def patch(self, path: str, body: Json, content_type: str = STRATEGIC) -> Json:
        """PATCH, as a strategic merge unless told otherwise."""
        return await self.request("PATCH", path, body=body, content_type=content_type)

    async def delete(self, path: str, body: Json) -> Json:
        """DELETE with DeleteOptions."""
        return await self.request("DELETE", path, body=body)

    async def list_all(self, path: str, parameters: Mapping[str, str]) -> tuple[list[Json], str]:
        """All items, page by page, and the resourceVersion to watch from."""
        items: list[Json] = []
        query = {**parameters, "limit": str(PAGE_SIZE)}
        while True:
            page = await self.get(path, query)
            items.extend(page.get("items") or ())
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return items, metadata["resourceVersion"]
            query["continue"] = metadata["continue"]

    async def watch(self, path: str, parameters: Mapping[str, str], resource_version: str) -> AsyncIterator[Json]:
        """Watch events from ``resource_version`` until the server ends the watch. Raises GoneError if too old."""
        query = {
            **parameters,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=WATCH_SILENCE_SECONDS)
        try:
            async with self._session.get(self.connection.server + path, params=query, timeout=timeout) as response:
                if response.status >= 400:
                    raise _error(response.status, _decoded(await response.read()))
                async for line in _lines(response.content):
                    yield _watch_event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, type(error).__name__, str(error)) from error


def _decoded(content: bytes) -> Json:
    try:
        answer: Any = json.loads(content)
    except ValueError:
        answer = {"message": content.decode(errors="replace")}
    return answer if isinstance(answer, dict) else {"message": str(answer)}


def _watch_event(line: bytes) -> Json:
    event: Json = json.loads(line)
    if event["type"] == "ERROR":
        status = event["object"]
        raise _error(int(status.get("code", 0)), status)
    return event


async def _lines(stream: asyncio.StreamReader | aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to the limit; StreamReader.readline() refuses those of large objects."""
    pending = b""
    while chunk := await stream.read(65536):
        *complete, pending = (pending + chunk).split(b"\n")
        if len(pending) > LONGEST_WATCH_LINE_BYTES:
            raise ApiError(0, "LineTooLong", f"a watch event is larger than {LONGEST_WATCH_LINE_BYTES} bytes")
        for line in complete:
            if line:
                yield line
