"""Every write that the operator makes.

Each starts only while `may_write` says so, and each write to an existing object carries what it was planned from
(resourceVersion or uid), so that a late write fails instead of undoing somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.shell.cluster.errors import NotLeaderError
from mediapipeline_operator.shell.cluster.kinds import BY_NAME, EVENT, PIPELINE, POD, Kind
from mediapipeline_operator.shell.cluster.transport import Transport

Json = dict[str, Any]
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_FORCE = {"fieldManager": labels.MANAGER, "force": "true", "fieldValidation": "Strict"}


class Writer:
    """Raises NotLeaderError, ApiError (ConflictError: observe again) or UnreachableError (the write may have
    happened: observe again).
    """

    def __init__(self, transport: Transport, may_write: Callable[[], bool]) -> None:
        self._transport = transport
        self._may_write = may_write

    async def apply(self, manifest: Mapping[str, Any], resource_version: str | None) -> Json:
        """Server-side apply.

        With a resource version the object must still be at it; returns the object as it now is.
        """
        meta = dict(manifest["metadata"])
        if resource_version is not None:
            meta["resourceVersion"] = resource_version
        kind = BY_NAME[manifest["kind"]]
        body = {**manifest, "metadata": meta}
        return await self._write("PATCH", kind.item(meta["namespace"], meta["name"]), body, _APPLY, _FORCE)

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int, resource_version: str) -> Json:
        """Sets spec.replicas of a Deployment or pipeline through /scale, provided that it is still at
        `resource_version`.
        """
        body = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": resource_version},
            "spec": {"replicas": replicas},
        }
        query = {"fieldManager": labels.MANAGER}
        return await self._write("PUT", kind.item(namespace, name, "scale"), body, "application/json", query)

    async def apply_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> Json:
        """Writes a pipeline's whole status, provided that it is still at `resource_version`.

        The uid keeps it from a new pipeline of the same name.
        """
        body = {
            "apiVersion": labels.API_VERSION,
            "kind": labels.KIND,
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": resource_version},
            "status": status,
        }
        query = {"fieldManager": labels.STATUS_MANAGER, "force": "true"}
        return await self._write("PATCH", PIPELINE.item(namespace, name, "status"), body, _APPLY, query)

    async def mark_pod(
        self, namespace: str, name: str, uid: str, resource_version: str, marks: Mapping[str, Mapping[str, str | None]]
    ) -> Json:
        """Sets or (None) removes labels and annotations of exactly this pod, as it was observed.

        `marks`: {"labels": {...}, "annotations": {...}}.
        """
        body = {"metadata": {"uid": uid, "resourceVersion": resource_version, **marks}}
        query = {"fieldManager": labels.MANAGER}
        return await self._write("PATCH", POD.item(namespace, name), body, _MERGE, query)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str) -> None:
        """Deletes exactly the observed object, its dependants in the background."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        await self._write("DELETE", kind.item(namespace, name), body, "application/json", {})

    async def post_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Creates a core/v1 Event."""
        await self._write("POST", EVENT.collection(namespace), event, "application/json", {})

    async def _write(
        self, method: str, path: str, body: Mapping[str, Any], content_type: str, query: Mapping[str, str]
    ) -> Json:
        if not self._may_write():
            raise NotLeaderError(f"{method} {path}: the lease is not held, or was not renewed in time")
        return await self._transport.request(method, path, query=query, body=body, content_type=content_type)
