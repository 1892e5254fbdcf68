"""Reads past the cache: single objects before something is created, and complete lists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from mediapipeline_operator.shell.cluster.errors import NotFoundError
from mediapipeline_operator.shell.cluster.kinds import Kind
from mediapipeline_operator.shell.cluster.transport import Transport

_PAGE = 500
_LIST_TIMEOUT_SECONDS = 30.0


async def read(transport: Transport, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
    """The live object with its kind, None when there is none (or no such kind). Raises ClusterError."""
    try:
        found = await transport.request("GET", kind.item(namespace, name))
    except NotFoundError:
        return None
    return {**found, "kind": kind.name}


async def list_all(
    transport: Transport, kind: Kind, namespace: str | None, selector: str = ""
) -> tuple[list[dict[str, Any]], str]:
    """All objects of a kind (namespace None: of the cluster), in pages, and the list's resource version.

    Raises ClusterError.
    """
    items: list[dict[str, Any]] = []
    version = ""
    async for page, version in pages(transport, kind, namespace, selector):  # noqa: B007  the last one counts
        items += page
    return items, version


async def pages(
    transport: Transport, kind: Kind, namespace: str | None, selector: str = ""
) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
    """The same page by page: all objects of thousands of pipelines at once would take hundreds of megabytes.

    Raises ClusterError.
    """
    query: dict[str, str | int] = {"limit": _PAGE, **({"labelSelector": selector} if selector else {})}
    while True:
        page = await transport.request(
            "GET", kind.collection(namespace), query=query, timeout_seconds=_LIST_TIMEOUT_SECONDS
        )
        items = [{**item, "kind": kind.name} for item in page.get("items") or ()]
        yield items, str(page["metadata"]["resourceVersion"])
        query["continue"] = page["metadata"].get("continue") or ""
        if not query["continue"]:
            return
