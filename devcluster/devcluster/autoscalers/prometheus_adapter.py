"""The Prometheus Adapter: serves custom.metrics.k8s.io, from which HorizontalPodAutoscalers read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import yaml

from devcluster.autoscalers.registration import api_services, service, wait_for
from devcluster.autoscalers.servers import Servers, api_flags
from devcluster.controlplane.addresses import free_port

NAME = "prometheus-adapter"
GROUP = "custom.metrics.k8s.io"
VERSIONS = ("v1beta1", "v1beta2")
NAMESPACE = "kube-system"
START_TIMEOUT_SECONDS = 300.0


class PrometheusAdapter(Servers):
    """One adapter, registered with the API server; blocks."""

    def __init__(self, data_dir: Path, program: Path, *, kubeconfig: Path, prometheus_url: str, rules: str) -> None:
        """Args:
        data_dir: for its log, certificates and configuration.
        program: the binary.
        kubeconfig: of a user who may read everything.
        prometheus_url: what it asks.
        rules: its configuration file's content.
        """
        super().__init__(data_dir)
        self._folder = data_dir / NAME
        self._program = program
        self._kubeconfig = kubeconfig
        self._prometheus_url = prometheus_url
        self._rules = rules
        self._port = free_port()

    def _register(self, client: httpx.Client, apply: Callable[[str], object]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "rules.yaml").write_text(self._rules)
        process = self.run(NAME, self._program, self._flags())
        there = service(NAME, NAMESPACE, self._port)
        apply(yaml.safe_dump_all([there, *api_services(there, GROUP, VERSIONS)]))
        path = f"/apis/{GROUP}/{VERSIONS[0]}"
        wait_for(lambda: client.get(path).is_success, process, "the custom metrics API", START_TIMEOUT_SECONDS)

    def _flags(self) -> tuple[str, ...]:
        return (
            *api_flags(self._kubeconfig, self._port, self._folder / "certificates"),
            f"--prometheus-url={self._prometheus_url}",
            f"--config={self._folder / 'rules.yaml'}",
            "--metrics-relist-interval=5s",
            "--metrics-max-age=30s",
        )
