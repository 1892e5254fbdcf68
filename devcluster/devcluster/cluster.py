"""The local cluster as one thing: control plane, Prometheus, the operator, and a node that runs pods as processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from devcluster.binaries import Progress, crd_manifests
from devcluster.controlplane import ControlPlane
from devcluster.controlplane.processes import ChildProcess, Command, log_tail, start_process
from devcluster.prometheus.config import ScrapeSettings
from devcluster.prometheus.server import Prometheus

OPERATOR_NAMESPACE = "mediapipeline-system"
IMAGES = {
    "ghcr.io/rtcscale/mediapod": {
        "argv": [sys.executable, "-m", "mediapod"],
        "addressFiles": {"MEDIAPOD_PEERS": "admin"},  # there is no DNS: pods find each other by a file
    },
    "ghcr.io/rtcscale/mediapipeline-operator": [sys.executable, "-m", "mediapipeline_operator"],
}


class ClusterError(Exception):
    """A part of the local cluster does not work; the message says which, and where its log is."""


class LocalCluster:
    """Starts and stops everything in one data folder. A context manager; everything blocks, every wait has a limit."""

    def __init__(
        self,
        data_dir: Path,
        binaries: Mapping[str, Path],
        progress: Progress,
        *,
        scrape_seconds: int = 5,
        gpus: int = 0,
        audit: bool = False,
    ) -> None:
        """Args:
        data_dir: a folder of the cluster's own.
        binaries: name to path, as `devcluster.binaries.ensure` gives it.
        progress: where steps of more than two seconds show.
        scrape_seconds: Prometheus' scrape interval.
        gpus: simulated nvidia.com/gpu devices of the node.
        audit: record mutating requests (`control_plane.mutations()`).
        """
        self.data_dir = data_dir
        self._binaries = binaries
        self._progress = progress
        self._gpus = gpus
        self.control_plane = ControlPlane(data_dir / "control-plane", binaries, audit=audit)
        self._scrape_seconds = scrape_seconds
        self._prometheus: Prometheus | None = None
        self._node: ChildProcess | None = None
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.control_plane.kubeconfig

    @property
    def kubectl_program(self) -> Path:
        """The kubectl that fits the control plane."""
        return self._binaries["kubectl"]

    @property
    def client(self) -> httpx.Client:
        """The API server, with the administrator's rights."""
        if self._client is None:
            raise ClusterError("the local cluster has not been started")
        return self._client

    @property
    def prometheus(self) -> Prometheus:
        if self._prometheus is None:
            raise ClusterError("the local cluster has not been started")
        return self._prometheus

    def start(self) -> None:
        """Control plane, CRDs of others, Prometheus, node. Nothing is left running when a part fails."""
        try:
            with self._progress.step("control plane: etcd, kube-apiserver, controllers, scheduler"):
                self.control_plane.start()
            self._client = self.control_plane.client()
            with self._progress.step("Prometheus and its ServiceMonitor kind"):
                self.kubectl("apply", "--server-side", "-f", str(crd_manifests("servicemonitors")))
                self._start_prometheus()
            with self._progress.step("node: pods run as local processes"):
                self._start_node()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends everything in reverse order; harmless when a part does not run."""
        if self._node is not None:
            self._node.stop(timeout_seconds=20)
        if self._prometheus is not None:
            self._prometheus.stop()
        if self._client is not None:
            self._client.close()
        self.control_plane.stop()

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """Runs kubectl and returns its output. Raises ClusterError with kubectl's own message."""
        command = [str(self.kubectl_program), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def install_operator(self, manifest: Path, settings: Mapping[str, str]) -> None:
        """Applies install.yaml, with `settings` (environment variables) as the overrides that a user may give."""
        overrides = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "mediapipeline-operator-overrides", "namespace": OPERATOR_NAMESPACE},
            "data": {"MEDIAPIPELINE_OPERATOR_PROMETHEUS_URL": self.prometheus.url, **settings},
        }
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}}
        self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, overrides]})
        )
        self.kubectl("apply", "--server-side", "-f", str(manifest))
        self.wait(self._operator_leads, 60, "the operator to lead")

    def get(self, path: str) -> dict[str, Any]:
        """One GET at the API server. Raises httpx.HTTPError."""
        response = self.client.get(path, timeout=5)
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found

    def pipeline(self, namespace: str, name: str) -> dict[str, Any]:
        """A MediaPipeline as the API server returns it."""
        return self.get(f"/apis/media.rtcscale.dev/v1alpha1/namespaces/{namespace}/mediapipelines/{name}")

    def service_url(self, namespace: str, name: str) -> str:
        """Base URL of a pipeline's signalling Service, by its cluster address: there is no DNS here."""
        service = self.get(f"/api/v1/namespaces/{namespace}/services/{name}")
        return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def wait(self, condition: Callable[[], bool], timeout_seconds: float, what: str) -> None:
        """Polls until the condition holds. Raises ClusterError naming what was waited for."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            self.control_plane.check()
            if time.monotonic() > deadline:
                raise ClusterError(f"waited {timeout_seconds:.0f} s for {what}; logs are in {self.data_dir}")
            time.sleep(0.2)

    def _operator_leads(self) -> bool:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases/mediapipeline-operator"
        response = self.client.get(path, timeout=5)
        return response.status_code == httpx.codes.OK and bool(response.json()["spec"].get("holderIdentity"))

    def _start_prometheus(self) -> None:
        settings = ScrapeSettings(
            server_url=self.control_plane.server_url,
            ca_file=self.control_plane.ca_file,
            token_file=self.control_plane.prometheus_token_file,
            scrape_interval_seconds=self._scrape_seconds,
        )
        self._prometheus = Prometheus(self.data_dir, self._binaries["prometheus"], settings)
        self._prometheus.start()

    def _start_node(self) -> None:
        images = self.data_dir / "images.json"
        images.write_text(json.dumps(IMAGES, indent=2))
        arguments = ("-m", "devcluster.node.cli", "run", "--kubeconfig", str(self.kubeconfig), "--name", "devnode")
        folder = ("--data-dir", str(self.data_dir / "node"), "--images", str(images), "--gpus", str(self._gpus))
        self._node = start_process(Command("node", (sys.executable, *arguments, *folder)), self.data_dir)
        self.wait(self._node_ready, 30, "the node to be Ready")

    def _node_ready(self) -> bool:
        if self._node is not None and not self._node.alive():
            raise ClusterError(f"the node agent ended:\n{log_tail(self._node.log_path)}")
        response = self.client.get("/api/v1/nodes/devnode", timeout=5)
        if response.status_code != httpx.codes.OK:
            return False
        conditions = response.json().get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
