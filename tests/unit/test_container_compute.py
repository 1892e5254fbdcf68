"""Resources of a replica and the number of media workers that follows from them."""

from decimal import Decimal
from typing import Any

import pytest

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.resources.compute import container_resources, cpu_cores, workers
from mediapipeline_operator.core.resources.stored import as_stored


@pytest.mark.parametrize(
    ("quantity", "cores"),
    [("2", 2), (4, 4), ("1500m", "1.5"), ("0.5", "0.5"), ("2e0", 2), ("1k", 1000), ("3000000u", 3), ("odd", 1)],
)
def test_cpu_quantities_are_read(quantity: Any, cores: Any) -> None:
    assert cpu_cores(quantity) == Decimal(cores)


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ({"limits": {"cpu": "3900m"}, "requests": {"cpu": "1"}}, 3),
        ({"requests": {"cpu": "2500m"}}, 2),
        ({"requests": {"cpu": "100m"}}, 1),
        ({"limits": {"memory": "1Gi"}}, 1),
        ({}, 1),
    ],
)
def test_workers_are_the_whole_cpus_of_the_limit_or_else_of_the_request(resources: dict[str, Any], count: int) -> None:
    assert workers(resources) == count


def _spec(compute: dict[str, Any], profile: str = "Video") -> MediaPipelineSpec:
    stages = [{"name": "soften", "effect": "GaussianBlur"}]
    return MediaPipelineSpec.model_validate({"profile": profile, "pipeline": {"stages": stages}, "compute": compute})


def test_voice_is_guaranteed_its_resources() -> None:
    resources = container_resources(_spec({"device": "CPU"}, "Voice"))
    assert resources == {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}


def test_a_gpu_is_added_to_what_the_user_asks_for() -> None:
    spec = _spec({"device": "GPU", "resources": {"requests": {"cpu": "4"}}})
    assert container_resources(spec) == {"requests": {"cpu": "4"}, "limits": {"nvidia.com/gpu": "1"}}


def test_other_devices_request_no_gpu() -> None:
    for device in ("CPU", "Simulated"):
        assert "nvidia.com/gpu" not in str(container_resources(_spec({"device": device})))


def test_what_the_server_drops_is_left_out_and_what_it_keeps_stays() -> None:
    given = {
        "name": "",
        "readOnly": False,
        "optional": False,
        "storageClassName": "",
        "matchLabels": {"empty": ""},
        "labels": {},
        "emptyDir": {},
        "values": [],
        "weight": 0,
        "nested": [{"value": "", "key": "k"}],
    }
    assert as_stored(given) == {
        "optional": False,
        "storageClassName": "",
        "matchLabels": {"empty": ""},
        "emptyDir": {},
        "weight": 0,
        "nested": [{"key": "k"}],
    }
