"""The golden pipelines' children on a real API server: stored as written, and a second apply changes nothing."""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devcluster.binaries import crd_manifests
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources import BuildSettings, desired

Json = dict[str, Any]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]
CASES = sorted(path.parent for path in (ROOT / "tests/golden").glob("*/pipeline.yaml"))
PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}


@pytest.fixture(scope="module")
def definitions(kubectl: Kubectl, eventually: Callable[..., Any]) -> Iterator[None]:
    """Our CRD, prometheus-operator's ServiceMonitor and KEDA's ScaledObject, served. KEDA goes again."""
    keda = crd_manifests("scaledobjects")
    for path in (ROOT / "crds", crd_manifests("servicemonitors"), keda):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    kinds = "mediapipelines.media.rtcscale.dev,servicemonitors.monitoring.coreos.com,scaledobjects.keda.sh"
    eventually(lambda: kubectl("get", kinds, "--all-namespaces", check=False).returncode == 0, "the CRDs to be served")
    yield
    kubectl("delete", "--wait=true", "-f", str(keda))


def apply(api: httpx.Client, manifest: Json) -> Json:
    root = "/api/v1" if manifest["apiVersion"] == "v1" else f"/apis/{manifest['apiVersion']}"
    plural = PLURALS.get(manifest["kind"], manifest["kind"].lower() + "s")
    path = f"{root}/namespaces/{manifest['metadata']['namespace']}/{plural}/{manifest['metadata']['name']}"
    answer = api.patch(
        path,
        content=json.dumps(manifest),
        headers={"Content-Type": "application/apply-patch+yaml"},
        params={"fieldManager": "mediapipeline-operator", "force": "true", "fieldValidation": "Strict"},
    )
    assert answer.is_success, answer.text
    live: Json = answer.json()
    return live


def changes_nothing(api: httpx.Client, manifest: Json) -> bool:
    versions = {apply(api, manifest)["metadata"]["resourceVersion"] for _ in range(2)}
    return len(versions) == 1


def differences(wanted: Any, live: Any, path: str = "") -> Iterator[str]:
    """Where `live` lacks a value of `wanted`; 4 and "4" are the same quantity."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key, value in wanted.items():
            yield from differences(value, live.get(key), f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif wanted != live and str(wanted) != str(live):
        yield f"{path}: {wanted!r} became {live!r}"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_children_are_stored_as_written_and_stay_untouched_by_a_second_apply(
    api: httpx.Client, definitions: None, namespace: str, case: Path, eventually: Callable[..., Any]
) -> None:
    obj = yaml.safe_load((case / "pipeline.yaml").read_text())
    obj["metadata"]["namespace"] = namespace
    path = f"/apis/media.rtcscale.dev/v1alpha1/namespaces/{namespace}/mediapipelines"
    created = api.post(path, json=obj, params={"fieldValidation": "Strict"}).raise_for_status().json()
    for manifest in desired(MediaPipeline.from_object(created), BuildSettings("example.invalid/mediapod:1")):
        first = apply(api, manifest)
        assert list(differences(manifest, first)) == []
        # Controllers write statuses meanwhile, so: sooner or later two applies in a row give the same version.
        eventually(
            partial(changes_nothing, api, manifest), f"a second apply of the {manifest['kind']} to change nothing"
        )


def test_the_comparison_would_see_a_value_that_the_server_drops() -> None:
    assert list(differences({"a": [{"b": ""}]}, {"a": [{}]})) == [".a[0].b: '' became None"]
