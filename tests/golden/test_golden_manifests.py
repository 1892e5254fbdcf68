"""Pipeline in, manifests out. After a wanted change: UPDATE_GOLDEN=1 pytest tests/golden, then review the diff."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources import BuildSettings, desired
from mediapipeline_operator.core.validation import invalid_stages

SETTINGS = BuildSettings(
    mediapod_image="ghcr.io/rtcscale/mediapod:0.1.0",
    service_monitor_labels={"release": "prometheus"},
    prometheus_url="http://prometheus-operated.monitoring.svc:9090",
    keda_trigger_authentication="prometheus",
)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def read(path: Path) -> MediaPipeline:
    obj = yaml.safe_load(path.read_text())
    obj["metadata"] |= {"uid": "9f1c6a52-0000-4000-8000-000000000001", "resourceVersion": "1", "generation": 1}
    return MediaPipeline.from_object(obj)


def rendered(path: Path) -> str:
    manifests = desired(read(path), SETTINGS, draining=1)
    return yaml.dump_all(manifests, Dumper=_Plain, sort_keys=False, width=120)


def test_manifests_are_those_of_the_golden_file(case: Path) -> None:
    golden = case / "manifests.yaml"
    text = rendered(case / "pipeline.yaml")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), "run UPDATE_GOLDEN=1 pytest tests/golden and review the diff"


def test_the_effects_of_the_case_exist(case: Path) -> None:
    assert invalid_stages(read(case / "pipeline.yaml").spec) == ()


def test_keda_shows_no_token_where_none_is_named() -> None:
    pipeline = read(Path(__file__).parent / "engine-keda" / "pipeline.yaml")
    manifests = desired(pipeline, replace(SETTINGS, keda_trigger_authentication=""))
    triggers = next(one["spec"]["triggers"] for one in manifests if one["kind"] == "ScaledObject")
    asking = [trigger for trigger in triggers if trigger["type"] == "prometheus"]
    assert asking
    assert not [one for one in asking if "authenticationRef" in one or "authModes" in one["metadata"]]


def test_replicas_are_in_no_manifest(case: Path) -> None:
    assert all(
        "replicas" not in manifest.get("spec", {}) for manifest in desired(read(case / "pipeline.yaml"), SETTINGS)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"autoscaling": {"minReplicas": 3, "maxReplicas": 20, "policy": "Threshold"}},
        {"autoscaling": {"latency": {"scaleUp": {"aboveMilliseconds": 200}}}},
        {"autoscaling": {"drain": {"timeoutSeconds": 60}}},
        {"replicas": 7, "autoscaling": {"engine": "None"}},
        {"monitoring": {"intervalSeconds": 7}},
        {"paused": True},
        {"autoscaling": {"signals": [{"type": "CPUUtilization"}]}},
        {"autoscaling": {"engine": "HorizontalPodAutoscaler"}},
    ],
    ids=lambda change: "-".join(change),
)
def test_what_pods_need_not_know_never_changes_the_template(change: dict[str, Any]) -> None:
    base = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur", "parameters": {}}]}}
    assert _template(base) == _template(base | change)


def _template(spec: dict[str, Any]) -> Any:
    obj = {"metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "spec": spec}
    manifests = desired(MediaPipeline.from_object(obj), SETTINGS)
    return next(m for m in manifests if m["kind"] == "Deployment")["spec"]["template"]
