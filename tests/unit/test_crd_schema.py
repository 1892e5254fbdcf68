"""The CRD as generated: current, structural, described, bounded, small. Servers get it in the end-to-end tests."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mediapipeline_operator.api.columns import PRINTER_COLUMNS
from mediapipeline_operator.api.rules import RULES
from mediapipeline_operator.api.schema import as_yaml, crd

Json = dict[str, Any]
CRD = Path(__file__).parents[2] / "crds/media.rtcscale.dev_mediapipelines.yaml"
# Kubernetes' own parts come without descriptions and bounds.
PASSED_ON = {
    "resources",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "env",
    "volumes",
    "volumeMounts",
    "imagePullSecrets",
    "allowFrom",
}


def schema() -> Json:
    version: Json = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return version


def fields(part: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every field of ours below `part`, Kubernetes' own parts left out."""
    for name, field in part.get("properties", {}).items():
        yield f"{path}.{name}", field
        if name not in PASSED_ON:
            yield from fields(field, f"{path}.{name}")
            yield from fields(field.get("items", {}), f"{path}.{name}[]")


def ours() -> list[tuple[str, Json]]:
    properties = schema()["properties"]
    return [*fields(properties["spec"], "spec"), *fields(properties["status"], "status")]


def test_the_file_in_crds_is_the_generated_one() -> None:
    assert CRD.read_text() == as_yaml(), "run tools/render_install.py"


def test_the_module_prints_it() -> None:
    command = [sys.executable, "-m", "mediapipeline_operator.api.schema"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=180).stdout
    assert yaml.safe_load(printed) == crd()


def test_it_fits_into_a_client_side_apply() -> None:
    assert len(as_yaml().encode()) <= 200_000


def test_every_field_has_a_description() -> None:
    missing = [path for path, field in ours() if not field.get("description")]
    assert missing == []


def test_every_field_is_bounded() -> None:
    def bounded(field: Json) -> bool:
        kind = field.get("type")
        if kind == "string":
            return bool({"enum", "maxLength", "format"} & field.keys())
        if kind == "array":
            return "maxItems" in field
        if kind == "object":
            return "properties" in field or "maxProperties" in field
        return True

    assert [path for path, field in ours() if path.split(".")[-1] not in PASSED_ON and not bounded(field)] == []


def test_numbers_of_the_spec_have_both_bounds() -> None:
    numbers = [(path, field) for path, field in ours() if path.startswith("spec") and field.get("type") == "integer"]
    assert numbers
    assert [path for path, field in numbers if not {"minimum", "maximum"} <= field.keys()] == []


@pytest.mark.parametrize("word", ["$ref", "allOf", "oneOf", "title", "const", "$defs", "kubernetesPart"])
def test_it_is_structural(word: str) -> None:
    assert word not in set(keys(schema()))


def test_unions_are_int_or_string_alone() -> None:
    for part in parts(schema()):
        assert "anyOf" not in part or part.get("x-kubernetes-int-or-string")


def parts(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def keys(part: Json) -> Iterator[str]:
    """Keywords of a schema, names of fields left out."""
    for keyword, value in part.items():
        yield keyword
        if keyword == "properties":
            for field in value.values():
                yield from keys(field)
        elif isinstance(value, dict) and keyword in ("items", "additionalProperties"):
            yield from keys(value)


def test_optional_objects_have_no_default() -> None:
    found = dict(ours())
    for path in ("spec.compute.gpu", "spec.compute.simulation", "spec.networking.ingress"):
        assert "default" not in found[path]
    assert found["spec.autoscaling"]["default"] == {}


def test_parts_of_the_status_are_owned_as_a_whole() -> None:
    found = dict(ours())
    whole = [*(found[f"status.{name}"] for name in ("autoscaling", "latency", "sessions", "endpoints"))]
    for part in (*whole, found["status.conditions"]["items"]):
        assert part["x-kubernetes-map-type"] == "atomic"
    assert found["status.conditions"]["x-kubernetes-list-type"] == "map", "others may add conditions of their own"


def test_a_pipeline_cannot_mount_the_host() -> None:
    volumes = dict(ours())["spec.pod.volumes"]["items"]["properties"]
    kinds = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "ephemeral", "image"}
    assert set(volumes) == {"name", *kinds}


def test_every_rule_has_a_message_that_ends_without_a_full_stop() -> None:
    for rule in RULES:
        assert 10 < len(rule.message) < 300
        assert not rule.message.endswith(".")


def test_columns_are_those_that_are_documented() -> None:
    wide = [column["name"] for column in PRINTER_COLUMNS if column.get("priority")]
    plain = [column["name"] for column in PRINTER_COLUMNS if not column.get("priority")]
    assert plain == ["Ready", "Replicas", "Desired", "Sessions", "P95", "Scaling", "Age"]
    assert wide == ["Device", "Miss", "Data", "Image"]
