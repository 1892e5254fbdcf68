"""Engine HorizontalPodAutoscaler with the real Prometheus Adapter, the rules of the chart and the real controller."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import yaml

from devcluster.binaries import ensure
from devcluster.controlplane.processes import Command, start_process
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
Eventually = Callable[..., Any]
RULES = Path(__file__).parents[3] / "charts/mediapipeline-operator/files/prometheus-adapter-rules.yaml"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta1"
VERSIONS = ("v1beta1", "v1beta2")
FRAMES_PER_SECOND = 100


class Load:
    """What the pods of the pipeline tell Prometheus; a test changes it while it runs."""

    def __init__(self) -> None:
        self.age_seconds = 0.02  # of every frame; above the top bucket: no frame comes back
        self.frames_per_second = FRAMES_PER_SECOND
        self.sessions = 3
        self.reachable = True
        self._frames = 0.0
        self._within = dict.fromkeys(LATENCY_BUCKETS_SECONDS, 0.0)
        self._last = time.monotonic()

    def exposition(self) -> str:
        now = time.monotonic()
        fresh, self._last = (now - self._last) * self.frames_per_second, now
        self._frames += fresh
        for bound in self._within:
            self._within[bound] += fresh * (bound >= self.age_seconds)
        rows = [
            f"mediapod_frames_received_total {self._frames}",
            f"mediapod_sessions {self.sessions}",
            "mediapod_sessions_pending 0",
            "app_request_latency_seconds_count 0",
            'app_request_latency_seconds_bucket{le="+Inf"} 0',
        ]
        buckets = {str(bound): count for bound, count in self._within.items()}
        buckets["+Inf"] = self._within[LATENCY_BUCKETS_SECONDS[-1]]
        rows += [f'mediapod_frame_age_seconds_bucket{{le="{le}"}} {count}' for le, count in buckets.items()]
        return "\n".join(rows) + "\n"


@pytest.fixture
def load() -> Load:
    return Load()


@pytest.fixture
def target(load: Load) -> Iterator[int]:
    """Port of a server that answers scrapes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = load.exposition().encode() if load.reachable else b""
            self.send_response(200 if load.reachable else 500)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def prometheus(target: int, world: Any, binaries: Mapping[str, Path], tmp_path: Path, eventually: Any) -> Iterator[str]:
    """URL of a Prometheus that scrapes the load every second, under the labels of the pipeline."""
    labels = {"namespace": world.namespace, "pipeline": "studio", "pod": "studio-0"}
    scrape = {"job_name": "pods", "static_configs": [{"targets": [f"127.0.0.1:{target}"], "labels": labels}]}
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]}
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    flags = (
        f"--config.file={tmp_path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    process = start_process(Command("prometheus", (str(binaries["prometheus"]), *flags)), tmp_path)
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: _answers(f"{url}/-/ready"), "Prometheus", 60)
    yield url
    process.stop()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def adapter(
    prometheus: str, kubeconfig: Path, kubectl: Any, api: httpx.Client, tmp_path: Path, eventually: Any
) -> Iterator[None]:
    """The Prometheus Adapter, registered with the API server by Services that name this host."""
    port = free_port()
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.read_text().replace("[1m]", "[10s]"))  # a test does not wait a minute for a rate
    flags = (
        *(f"--{name}-kubeconfig={kubeconfig}" for name in ("lister", "authentication", "authorization")),
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={tmp_path / 'certificates'}",
        f"--prometheus-url={prometheus}",
        f"--config={rules}",
        "--metrics-relist-interval=5s",
        "--metrics-max-age=30s",
    )
    program = ensure(("prometheus-adapter",))["prometheus-adapter"]
    process = start_process(Command("prometheus-adapter", (str(program), *flags)), tmp_path)
    kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(_registration(port)))
    eventually(lambda: api.get(CUSTOM).status_code == 200, "the custom metrics API", 120)
    yield
    kubectl("delete", "apiservice", *(f"{version}.custom.metrics.k8s.io" for version in VERSIONS))
    process.stop()


def _registration(port: int) -> Iterator[dict[str, Any]]:
    service = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    named = {"name": "prometheus-adapter", "namespace": "kube-system"}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": named, "spec": service}
    for version in VERSIONS:
        yield {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.custom.metrics.k8s.io"},
            "spec": {
                "group": "custom.metrics.k8s.io",
                "version": version,
                "service": {**named, "port": port},
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        }
    # What the adapter's own chart installs for the controller.
    role = {"apiGroups": ["custom.metrics.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]}
    name = {"name": "hpa-custom-metrics"}
    authorization = "rbac.authorization.k8s.io"
    yield {"apiVersion": f"{authorization}/v1", "kind": "ClusterRole", "metadata": name, "rules": [role]}
    account = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
    yield {
        "apiVersion": f"{authorization}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": name,
        "roleRef": {"apiGroup": authorization, "kind": "ClusterRole", **name},
        "subjects": [account],
    }


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


def make_ready(world: Any) -> None:
    """As the kubelet reports."""
    for pod in world.items("Pod"):
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]}
        world.patch("Pod", pod["metadata"]["name"], {"status": status}, "status")


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
    make_ready(world)
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
