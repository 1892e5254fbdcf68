"""Snapshots without a cluster: a pipeline, its children as an API server would show them after an apply."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import Key, MediaPipeline
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.drift import manifest_digest
from mediapipeline_operator.core.model import ChildRef, ChildState, DeploymentState, Memory, Owner, Snapshot
from mediapipeline_operator.core.resources import BuildSettings, desired
from mediapipeline_operator.core.scaling.state import ScalingState

Json = dict[str, Any]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SETTINGS = BuildSettings(mediapod_image="example.org/mediapod:1")
STAGES = {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}


def fields_of(value: Any) -> Json:
    """The fieldsV1 of an apply of `value`; lists are atomic unless their items have a name."""
    if not isinstance(value, dict):
        return {}
    return {f"f:{key}": _fields_of_item(item) for key, item in value.items()}


def _fields_of_item(value: Any) -> Json:
    named = isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value)
    if named:
        return {f'k:{{"name":"{item["name"]}"}}': {".": {}, **fields_of(item)} for item in value}
    return fields_of(value)


def applied(manifest: Mapping[str, Any], manager: str = labels.MANAGER) -> Json:
    """`manifest` as the API server returns it right after the apply."""
    live = copy.deepcopy(dict(manifest))
    owned = {key: value for key, value in live.items() if key not in ("apiVersion", "kind")}
    owned["metadata"] = {key: value for key, value in live["metadata"].items() if key not in ("name", "namespace")}
    entry = {"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields_of(owned)}
    live["metadata"] |= {"uid": "u-1", "resourceVersion": "7", "managedFields": [entry]}
    return live


DEPLOYED = DeploymentState(
    replicas=2,
    replicas_owned=True,
    generation=2,
    observed_generation=2,
    current=2,
    ready=2,
    updated=2,
    available=2,
    last_progress=None,
    deadline_exceeded=False,
    failure="",
)


def make_pipeline(spec: Json | None = None, **fields: Any) -> MediaPipeline:
    body = {"pipeline": STAGES, "compute": {"device": "CPU"}, **(spec or {})}
    known: Json = {"uid": "p-1", "resource_version": "1", "generation": 1, **fields}
    return MediaPipeline(key=Key("media", "studio"), spec=MediaPipelineSpec.model_validate(body), **known)


def make_children(pipeline: MediaPipeline) -> dict[ChildRef, ChildState]:
    """Every child, exactly as wanted."""
    found = {}
    for manifest in desired(pipeline, SETTINGS):
        ref = ChildRef(manifest["kind"], manifest["metadata"]["name"])
        found[ref] = ChildState(
            ref=ref,
            namespace="media",
            uid=f"u-{ref.kind}-{ref.name}",
            resource_version="7",
            pipeline="studio",
            owner=Owner("studio", pipeline.uid),
            digest=manifest_digest(manifest),
            deployment=DEPLOYED if ref.kind == "Deployment" else None,
        )
    return found


@pytest.fixture
def snapshot_of() -> Callable[..., Snapshot]:
    """`snapshot_of(spec, pipeline={...}, **changes)`: a settled pipeline, with changes."""

    def build(spec: Json | None = None, pipeline: Json | None = None, **changes: Any) -> Snapshot:
        made = make_pipeline(spec, **(pipeline or {}))
        settled = Snapshot(
            pipeline=made,
            children=make_children(made),
            pods=(),
            unavailable={},
            signals=None,
            memory=Memory(state=ScalingState()),
            now=NOW,
        )
        return replace(settled, **changes)

    return build


@pytest.fixture(scope="session")
def as_live() -> Callable[[Mapping[str, Any]], Json]:
    """`as_live(manifest)`: the object as the API server returns it after an apply."""
    return applied
