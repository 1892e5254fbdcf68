"""A MediaPipeline from the cluster, or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
import yaml
from pydantic import ValidationError

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.shell.cluster.errors import ClusterError
from mediapipeline_operator.shell.cluster.kinds import PIPELINE
from mediapipeline_operator.shell.cluster.reader import read
from mediapipeline_operator.shell.cluster.transport import Transport

USER_AGENT = "kubectl-mediapipelines"


async def pipeline(transport: Transport, namespace: str, name: str) -> dict[str, Any]:
    """The resource's JSON. Raises ClusterError if it is not there."""
    found = await read(transport, PIPELINE, namespace, name)
    if found is None:
        raise ClusterError(f"no MediaPipeline {name} in namespace {namespace}; -n chooses another one")
    return found


def spec_of_file(path: Path) -> MediaPipelineSpec:
    """The spec of the first MediaPipeline in a YAML file. Raises typer.BadParameter, which names what is wrong."""
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path}: {error}") from error
    found = (item for item in documents if isinstance(item, dict) and item.get("kind") == "MediaPipeline")
    resource = next(found, None)
    if resource is None:
        raise typer.BadParameter(f"{path}: no document of kind MediaPipeline")
    return checked_spec(resource, str(path))


def checked_spec(resource: dict[str, Any], source: str) -> MediaPipelineSpec:
    """The typed spec. Raises typer.BadParameter with the first field that is wrong."""
    try:
        return MediaPipelineSpec.model_validate(resource.get("spec") or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise typer.BadParameter(f"{source}: spec.{field}: {first['msg']}") from error
