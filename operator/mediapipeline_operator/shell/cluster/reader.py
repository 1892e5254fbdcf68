"""Single reads past the cache: before something is created, and to find a pipeline gone."""

from __future__ import annotations

from typing import Any

from mediapipeline_operator.shell.cluster.errors import NotFoundError
from mediapipeline_operator.shell.cluster.kinds import Kind
from mediapipeline_operator.shell.cluster.transport import Transport


async def read(transport: Transport, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
    """The live object with its kind, None when there is none (or no such kind). Raises ClusterError."""
    try:
        found = await transport.request("GET", kind.item(namespace, name))
    except NotFoundError:
        return None
    return {**found, "kind": kind.name}
