"""The operator as a real process against the real API server, in a namespace and with a Lease of its own for each
test.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devcluster.binaries import crd_manifests
from devcluster.controlplane import ControlPlane, Mutation
from e2e.exported_load import Load, target
from e2e.real_prometheus import running

Json = dict[str, Any]
CRD_FILE = Path(__file__).parents[3] / "crds" / "media.rtcscale.dev_mediapipelines.yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
COLLECTIONS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/servicemonitors",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/api/v1/namespaces/{}/events",
    "MediaPipeline": "/apis/media.rtcscale.dev/v1alpha1/namespaces/{}/mediapipelines",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
}


class Operator:
    """One running process of the operator."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path, port: int) -> None:
        self.log = log
        self.port = port
        with log.open("w") as out:
            self.process = subprocess.Popen(command, env=dict(environment), stdout=out, stderr=subprocess.STDOUT)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)

    def leads(self) -> bool:
        return "leadership_acquired" in self.log.read_text()

    def has_decided(self) -> bool:
        """Whether it has looked at a pipeline's scaling."""
        try:
            return "mediapipeline_autoscaler_desired_replicas{" in httpx.get(self._url("/metrics"), timeout=2).text
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> int:
        """HTTP status of the health server."""
        try:
            return httpx.get(self._url(path), timeout=2).status_code
        except httpx.HTTPError:
            return 0

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class World:
    """What a test reads and writes: one namespace of the cluster, as the administrator."""

    def __init__(self, api: httpx.Client, namespace: str, plane: ControlPlane) -> None:
        self.api = api
        self.namespace = namespace
        self._plane = plane

    def path(self, kind: str, name: str = "") -> str:
        return COLLECTIONS[kind].format(self.namespace) + (f"/{name}" if name else "")

    def get(self, kind: str, name: str) -> Json | None:
        """The object, None when there is none (or no such kind)."""
        response = self.api.get(self.path(kind, name))
        if response.status_code == 404:
            return None
        found: Json = response.raise_for_status().json()
        return found

    def items(self, kind: str) -> list[Json]:
        found: list[Json] = self.api.get(self.path(kind)).raise_for_status().json()["items"]
        return found

    def create(self, kind: str, body: Json) -> Json:
        response = self.api.post(self.path(kind), json=body)
        assert response.status_code == 201, response.text
        created: Json = response.json()
        return created

    def patch(self, kind: str, name: str, body: Json, subresource: str = "") -> Json:
        """A merge patch."""
        response = self.api.patch(
            self.path(kind, name) + (f"/{subresource}" if subresource else ""),
            json=body,
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert response.status_code == 200, response.text
        patched: Json = response.json()
        return patched

    def delete(self, kind: str, name: str) -> None:
        self.api.delete(self.path(kind, name)).raise_for_status()

    def pipeline(self, name: str = "studio", **spec: Any) -> Json:
        """Creates a MediaPipeline with one blur stage and `spec`."""
        stage = {"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}
        body = {
            "apiVersion": "media.rtcscale.dev/v1alpha1",
            "kind": "MediaPipeline",
            "metadata": {"name": name},
            "spec": {"pipeline": {"stages": [stage]}, "compute": {"device": "CPU"}, **spec},
        }
        return self.create("MediaPipeline", body)

    def status(self, name: str = "studio") -> Json:
        found = self.get("MediaPipeline", name)
        status: Json = (found or {}).get("status") or {}
        return status

    def condition(self, kind: str, name: str = "studio") -> Json:
        """A condition, {} without it."""
        conditions = self.status(name).get("conditions") or ()
        return next((item for item in conditions if item["type"] == kind), {})

    def reasons(self) -> list[str]:
        """Reasons of all events about MediaPipelines."""
        return [item["reason"] for item in self.items("Event") if item["involvedObject"]["kind"] == "MediaPipeline"]

    def make_ready(self) -> None:
        """As the kubelet reports."""
        for pod in self.items("Pod"):
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]}
            self.patch("Pod", pod["metadata"]["name"], {"status": status}, "status")

    def writes(self) -> list[Mutation]:
        """Everything that an operator has changed here, its Lease apart."""
        return [
            one
            for one in self._plane.mutations()
            if one.namespace == self.namespace
            and ("mediapipeline-operator" in one.user_agent or "kopf" in one.user_agent)
            and one.resource != "leases"
        ]


def _crd(api: httpx.Client, body: Json, eventually: Callable[..., Any]) -> None:
    path = f"{CRDS}/{body['metadata']['name']}"
    response = api.patch(
        path,
        params={"fieldManager": "tests", "force": "true"},
        content=yaml.safe_dump(body),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert response.status_code in (200, 201), response.text
    eventually(lambda: "Established" in _true_conditions(api, path), f"the CRD {body['metadata']['name']}")


def _true_conditions(api: httpx.Client, path: str) -> set[str]:
    status = api.get(path).json().get("status") or {}
    return {item["type"] for item in status.get("conditions") or () if item["status"] == "True"}


@pytest.fixture(scope="session")
def mediapipeline_crd(control_plane: ControlPlane, eventually: Callable[..., Any]) -> None:
    with control_plane.client() as api:
        _crd(api, yaml.safe_load(CRD_FILE.read_text()), eventually)


@pytest.fixture(scope="session")
def service_monitor_manifest() -> Json:
    body: Json = yaml.safe_load(crd_manifests("servicemonitors").read_text())
    return body


@pytest.fixture
def service_monitors(
    api: httpx.Client, service_monitor_manifest: Json, eventually: Callable[..., Any]
) -> Callable[[bool], None]:
    """`service_monitors(True)` makes the cluster have the kind, False makes it lack it."""

    def set_presence(present: bool) -> None:
        path = f"{CRDS}/{service_monitor_manifest['metadata']['name']}"
        if present:
            _crd(api, service_monitor_manifest, eventually)
        else:
            api.delete(path)
            eventually(lambda: api.get(path).status_code == 404, "the CRD to go")

    return set_presence


@pytest.fixture
def world(api: httpx.Client, namespace: str, control_plane: ControlPlane, mediapipeline_crd: None) -> World:
    return World(api, namespace, control_plane)


@pytest.fixture
def load() -> Load:
    """What the pods of pipeline `studio` export."""
    return Load()


@pytest.fixture
def exported(load: Load, world: World, binaries: Mapping[str, Path], tmp_path: Path) -> Iterator[str]:
    """URL of a Prometheus that scrapes `load` every second, under the labels of pipeline `studio`."""
    labels = {"namespace": world.namespace, "pipeline": "studio", "pod": "studio-0"}
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with target(load) as port:
        scrape = {"job_name": "pods", "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]}
        with running(binaries["prometheus"], folder, [scrape]) as url:
            yield url


@pytest.fixture
def start_operator(namespace: str, kubeconfig: Path, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """`start_operator(*flags)` starts one more process; all are ended after the test."""
    running: list[Operator] = []

    def start(*flags: str, kubeconfig_file: Path = kubeconfig) -> Operator:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        operator = Operator(
            [sys.executable, "-m", "mediapipeline_operator", *_flags(namespace, port), *flags],
            {**os.environ, "KUBECONFIG": str(kubeconfig_file), "POD_NAMESPACE": namespace, "POD_IP": "127.0.0.1"},
            tmp_path / f"operator-{len(running)}.log",
            port,
        )
        running.append(operator)
        return operator

    yield start
    for operator in running:
        operator.kill()
        print(f"--- {operator.log.name}\n{operator.log.read_text()[-8000:]}")


def _flags(namespace: str, port: int) -> tuple[str, ...]:
    return (
        f"--namespaces={namespace}",
        f"--health-port={port}",
        "--log-format=text",
        "--tick-seconds=1",
        "--request-timeout-seconds=3",
        "--lease-duration-seconds=6",
    )


@pytest.fixture
def operator(start_operator: Callable[..., Operator], world: World) -> Operator:
    """One operator that looks after the test's namespace."""
    return start_operator()
