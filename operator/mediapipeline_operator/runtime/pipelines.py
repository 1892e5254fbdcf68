"""The MediaPipelines as last seen: from the watch, and from the answers to our own status writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from pydantic import ValidationError

from mediapipeline_operator.api.pipeline import Key, MediaPipeline
from mediapipeline_operator.api.spec import MediaPipelineSpec
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


@dataclass(frozen=True, slots=True)
class _Kept:
    """A pipeline as it is kept: its status as JSON, a fifth of the 14 kB of its dictionaries. A pass reads it in ten
    microseconds.
    """

    pipeline: MediaPipeline  # without status
    status: bytes
    needs_decisions: bool

    @classmethod
    def of(cls, pipeline: MediaPipeline) -> _Kept:
        return cls(replace(pipeline, status={}), msgspec.json.encode(pipeline.status), _needs_decisions(pipeline))

    def whole(self) -> MediaPipeline:
        return replace(self.pipeline, status=msgspec.json.decode(self.status))


class Pipelines:
    """Newest wins: events may come late, after the answer to a write."""

    def __init__(self) -> None:
        self._known: dict[Key, _Kept | Unreadable] = {}

    def get(self, key: Key) -> MediaPipeline | Unreadable | None:
        known = self._known.get(key)
        return known.whole() if isinstance(known, _Kept) else known

    def known(self) -> tuple[Key, ...]:
        """All that are there."""
        return tuple(self._known)

    def readable(self) -> tuple[Key, ...]:
        """All that can be looked after."""
        return tuple(key for key, item in self._known.items() if isinstance(item, _Kept))

    def needs_decisions(self, key: Key) -> bool:
        """Whether scaling has to look at it."""
        known = self._known.get(key)
        return isinstance(known, _Kept) and known.needs_decisions

    def to_measure(self) -> list[tuple[Key, MediaPipelineSpec]]:
        """All that scaling has to look at."""
        kept = (item for item in self._known.values() if isinstance(item, _Kept) and item.needs_decisions)
        return [(item.pipeline.key, item.pipeline.spec) for item in kept]

    def older_than(self, resource_version: int) -> tuple[tuple[Key, str], ...]:
        """Key and uid of all that were last seen before a resource version."""
        known = (item.pipeline if isinstance(item, _Kept) else item for item in self._known.values())
        return tuple((item.key, item.uid) for item in known if version(item.resource_version) < resource_version)

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._known)

    def put(self, body: Mapping[str, Any]) -> bool:
        """Takes a resource's JSON over, unless as new a one of that name is known. Returns whether it was news."""
        meta = body["metadata"]
        key = Key(meta["namespace"], meta["name"])
        known = self._identity(key)
        if known is not None and version(known.resource_version) >= version(meta["resourceVersion"]):
            return False
        read = _read(body, key)
        self._known[key] = _Kept.of(read) if isinstance(read, MediaPipeline) else read
        return True

    def learn_scale(self, pipeline: MediaPipeline, replicas: int, resource_version: str) -> None:
        """Takes a write of ours to the pipeline's /scale over, which does not answer with the pipeline."""
        known = self._known.get(pipeline.key)
        if isinstance(known, _Kept) and known.whole() == pipeline:
            spec = pipeline.spec.model_copy(update={"replicas": replicas})
            self._known[pipeline.key] = _Kept.of(replace(pipeline, spec=spec, resource_version=resource_version))

    def remove(self, key: Key, uid: str) -> None:
        """Forgets the resource, unless another of the same name has come."""
        known = self._identity(key)
        if known is not None and known.uid == uid:
            del self._known[key]

    def _identity(self, key: Key) -> MediaPipeline | Unreadable | None:
        """Without status."""
        known = self._known.get(key)
        return known.pipeline if isinstance(known, _Kept) else known


def _needs_decisions(pipeline: MediaPipeline) -> bool:
    """A paused pipeline that says so, and has no drain left to undo, costs nothing until its spec changes."""
    scaling = pipeline.status.get("autoscaling") or {}
    at_rest = (
        pipeline.spec.paused
        and pipeline.status.get("observedGeneration") == pipeline.generation
        and scaling.get("summary") == "Paused"
        and not scaling.get("drains")
    )
    return not (pipeline.deleting or at_rest)


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
