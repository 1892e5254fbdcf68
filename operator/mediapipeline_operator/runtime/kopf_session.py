"""The HTTP session that kopf sends its requests with: where kopf lists the MediaPipelines, our own list is taken.

kopf handles each resource of a list as a change of its own, two milliseconds of copies and comparisons each, and all
of them wait in its memory meanwhile. We list them anyway, page by page, and find deletions too. So kopf is told an
empty list with the version of ours, and watches from there on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from mediapipeline_operator.api import labels
from mediapipeline_operator.shell.cluster.credentials import Credentials

Listed = Callable[[str | None], Awaitable[str]]  # namespace (None: all) -> resource version of our list of it


def session(credentials: Credentials, listed: Listed) -> aiohttp.ClientSession:
    """With the same identity as our own requests, and the token of this moment. To be called in kopf's event loop."""
    tls, authorization = credentials.ssl_context(), credentials.authorization()

    class Response(aiohttp.ClientResponse):
        async def json(self, **options: Any) -> Any:
            if not self.url.path.endswith(f"/{labels.PLURAL}"):
                return await super().json(**options)
            await self.read()
            return {"metadata": {"resourceVersion": await listed(_namespace(self.url.path))}, "items": []}

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=True if tls is None else tls),
        headers=None if authorization is None else {"Authorization": authorization},
        response_class=Response,
    )


def _namespace(path: str) -> str | None:
    """Of `/apis/GROUP/VERSION/namespaces/NAMESPACE/mediapipelines`; None: of all."""
    parts = path.split("/")
    return parts[-2] if parts[-3] == "namespaces" else None
