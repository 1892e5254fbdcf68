"""The MediaPipelines as last seen: from the watch, and from the answers to our own status writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from mediapipeline_operator.api.pipeline import Key, MediaPipeline
from mediapipeline_operator.shell.cluster.store import version


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A resource whose spec this version cannot read: the CRD allowed something that we do not know."""

    key: Key
    uid: str
    resource_version: str
    generation: int
    status: Mapping[str, Any]
    message: str


class Pipelines:
    """Newest wins: events may come late, after the answer to a write."""

    def __init__(self) -> None:
        self._known: dict[Key, MediaPipeline | Unreadable] = {}

    def get(self, key: Key) -> MediaPipeline | Unreadable | None:
        return self._known.get(key)

    def readable(self) -> tuple[MediaPipeline, ...]:
        """All that can be looked after."""
        return tuple(item for item in self._known.values() if isinstance(item, MediaPipeline))

    def older_than(self, resource_version: int) -> tuple[MediaPipeline | Unreadable, ...]:
        """All that were last seen before a resource version."""
        return tuple(item for item in self._known.values() if version(item.resource_version) < resource_version)

    def __len__(self) -> int:
        return len(self._known)

    def put(self, body: Mapping[str, Any]) -> bool:
        """Takes a resource's JSON over, unless as new a one of that name is known. Returns whether it was news."""
        meta = body["metadata"]
        key = Key(meta["namespace"], meta["name"])
        known = self._known.get(key)
        if known is not None and version(known.resource_version) >= version(meta["resourceVersion"]):
            return False
        self._known[key] = _read(body, key)
        return True

    def learn_scale(self, pipeline: MediaPipeline, replicas: int, resource_version: str) -> None:
        """Takes a write of ours to the pipeline's /scale over, which does not answer with the pipeline."""
        known = self._known.get(pipeline.key)
        if known == pipeline:
            spec = pipeline.spec.model_copy(update={"replicas": replicas})
            self._known[pipeline.key] = replace(pipeline, spec=spec, resource_version=resource_version)

    def remove(self, key: Key, uid: str) -> None:
        """Forgets the resource, unless another of the same name has come."""
        known = self._known.get(key)
        if known is not None and known.uid == uid:
            del self._known[key]


def _read(body: Mapping[str, Any], key: Key) -> MediaPipeline | Unreadable:
    try:
        return MediaPipeline.from_object(body)
    except ValidationError as error:
        meta = body["metadata"]
        message = "; ".join(
            f"spec.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
        )
        return Unreadable(
            key=key,
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
            generation=meta.get("generation", 0),
            status=body.get("status") or {},
            message=message,
        )
