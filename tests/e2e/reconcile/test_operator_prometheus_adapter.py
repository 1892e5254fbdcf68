"""Engine HorizontalPodAutoscaler with the real Prometheus Adapter, the rules of the chart and the real controller."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devcluster.autoscalers import PrometheusAdapter
from devcluster.binaries import ensure
from e2e.exported_load import Load

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
Eventually = Callable[..., Any]
RULES = Path(__file__).parents[3] / "charts/mediapipeline-operator/files/prometheus-adapter-rules.yaml"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta1"


@pytest.fixture
def adapter(exported: str, kubeconfig: Path, kubectl: Any, api: httpx.Client, tmp_path: Path) -> Iterator[None]:
    """The Prometheus Adapter with the rules of the chart, registered with the API server."""
    server = PrometheusAdapter(
        tmp_path,
        ensure(("prometheus-adapter",))["prometheus-adapter"],
        kubeconfig=kubeconfig,
        prometheus_url=exported,
        rules=RULES.read_text().replace("[1m]", "[10s]"),  # a test does not wait a minute for a rate
    )
    with server.start(api, lambda text: kubectl("apply", "--server-side", "-f", "-", input=text)):
        yield
    kubectl("delete", "apiservice", "v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io")


def value(api: httpx.Client, world: Any, metric: str = "mediapod_frame_age_p95_seconds") -> float | None:
    """What the adapter tells of the pipeline; None: nothing."""
    path = f"{CUSTOM}/namespaces/{world.namespace}/mediapipelines.media.rtcscale.dev/studio/{metric}"
    answer = api.get(path)
    if answer.status_code != 200:
        return None
    text = answer.json()["items"][0]["value"]
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)


def between(low: float, found: float | None, high: float) -> bool:
    return found is not None and low <= found <= high


def requested(world: Any) -> int:
    found: int = world.get("MediaPipeline", "studio")["spec"]["replicas"]
    return found


def active(world: Any) -> str:
    """The controller's word on whether it can compute a number."""
    status = (world.get("HorizontalPodAutoscaler", "studio") or {}).get("status") or {}
    conditions = status.get("conditions") or ()
    return next((one["reason"] for one in conditions if one["type"] == "ScalingActive"), "")


def test_the_controller_scales_the_pipeline_on_p95_and_an_outage_changes_nothing(
    adapter: None, load: Load, operator: Any, world: Any, api: httpx.Client, eventually: Eventually
) -> None:
    world.pipeline(autoscaling={"engine": "HorizontalPodAutoscaler", "maxReplicas": 5})
    eventually(lambda: world.get("HorizontalPodAutoscaler", "studio"), "the autoscaler", 60)
    eventually(lambda: len(world.items("Pod")) == 2, "two pods")
    world.make_ready()
    eventually(lambda: between(0.015, value(api, world), 0.02), "a low p95", 60)
    eventually(lambda: active(world) == "ValidMetricFound", "the controller to read it", 60)
    assert requested(world) == 2

    load.age_seconds = 0.15  # between two bounds: all of it is in the bucket of 0.15
    eventually(lambda: between(0.14, value(api, world), 0.15), "a high p95", 60)
    eventually(lambda: requested(world) == 3, "the controller to raise spec.replicas after a minute", 180)
    eventually(lambda: world.get("Deployment", "studio")["spec"]["replicas"] == 3, "the operator to carry it out")

    load.age_seconds = 9.0  # frames arrive, none comes back
    eventually(lambda: value(api, world) == 5.0, "missed frames to count as the slowest", 60)

    load.frames_per_second = 0  # muted cameras: histogram_quantile gives NaN, which the adapter would read as 0
    eventually(lambda: value(api, world) is None, "no value without frames", 60)
    load.sessions = 0
    eventually(lambda: value(api, world) == 0.0, "0 without sessions", 60)
    load.reachable = False
    eventually(lambda: value(api, world) is None, "no value without a target", 60)
    eventually(lambda: active(world) == "FailedGetObjectMetric", "the controller to be blind", 60)
    before = requested(world)
    time.sleep(20)
    assert requested(world) == before
