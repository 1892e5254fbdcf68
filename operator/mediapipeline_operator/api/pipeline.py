"""A MediaPipeline as read from the API server: its identity, its spec and the status that it had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import crc32

from mediapipeline_operator.api.spec import MediaPipelineSpec


class Key(NamedTuple):
    """What the work queue holds: a pipeline's namespace and name. A tuple: it is looked up 25 times in each pass."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def phase(self) -> float:
        """0 to 1, always the same for a name: when in a period it has its turn, so that not all have it at once."""
        return crc32(str(self).encode()) / 2**32


@dataclass(frozen=True, slots=True)
class MediaPipeline:
    """One resource. `status` is the JSON as last written, empty for a new resource."""

    key: Key
    uid: str
    resource_version: str
    generation: int
    spec: MediaPipelineSpec
    status: Mapping[str, Any] = field(default_factory=dict)
    deleting: bool = False

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> MediaPipeline:
        """Reads the JSON of the API server. Raises pydantic.ValidationError, whose errors name the fields."""
        meta = obj["metadata"]
        return cls(
            key=Key(meta["namespace"], meta["name"]),
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
            generation=meta.get("generation", 0),
            spec=MediaPipelineSpec.model_validate(obj["spec"]),
            status=obj.get("status") or {},
            deleting="deletionTimestamp" in meta,
        )
