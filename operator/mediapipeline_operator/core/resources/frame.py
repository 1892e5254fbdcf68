"""The frame that every child shares: kind, name, labels and the owner reference that deletes it with its pipeline."""

from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources.settings import Manifest


def metadata(pipeline: MediaPipeline, component: str, suffix: str = "") -> dict[str, Any]:
    """Metadata of a child. Names are never cut: a pipeline's name has at most 52 characters."""
    name = pipeline.key.name
    return {
        "name": f"{name}{suffix}",
        "namespace": pipeline.key.namespace,
        "labels": labels.for_child(name, component),
        "ownerReferences": [owner_reference(pipeline)],
    }


def owner_reference(pipeline: MediaPipeline) -> dict[str, Any]:
    return {
        "apiVersion": labels.API_VERSION,
        "kind": labels.KIND,
        "name": pipeline.key.name,
        "uid": pipeline.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child(api_version: str, kind: str, meta: dict[str, Any], **body: Any) -> Manifest:
    """A manifest; parts of `body` that are None are left out."""
    kept = {key: value for key, value in body.items() if value is not None}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **kept}
