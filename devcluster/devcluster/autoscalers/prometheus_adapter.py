"""The Prometheus Adapter: serves custom.metrics.k8s.io, from which HorizontalPodAutoscalers read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import yaml

from devcluster.autoscalers.registration import api_services, service, wait_for
from devcluster.controlplane.addresses import LOOPBACK, free_port
from devcluster.controlplane.processes import ChildProcess, Command, start_process

NAME = "prometheus-adapter"
GROUP = "custom.metrics.k8s.io"
VERSIONS = ("v1beta1", "v1beta2")
NAMESPACE = "kube-system"
START_TIMEOUT_SECONDS = 300.0


class PrometheusAdapter:
    """One adapter, registered with the API server. A context manager; blocks."""

    def __init__(self, data_dir: Path, program: Path, *, kubeconfig: Path, prometheus_url: str, rules: str) -> None:
        """Args:
        data_dir: for its log, certificates and configuration.
        program: the binary.
        kubeconfig: of a user who may read everything.
        prometheus_url: what it asks.
        rules: its configuration file's content.
        """
        self._folder = data_dir / NAME
        self._data_dir = data_dir
        self._program = program
        self._kubeconfig = kubeconfig
        self._prometheus_url = prometheus_url
        self._rules = rules
        self._port = free_port()
        self._process: ChildProcess | None = None

    def start(self, client: httpx.Client, apply: Callable[[str], object]) -> Self:
        """Starts and registers it; returns when the API server serves its group.

        Args:
            client: of the API server.
            apply: applies a text of YAML documents.

        Raises:
            AutoscalerError: it ended or was not found in time.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "rules.yaml").write_text(self._rules)
        self._process = start_process(Command(NAME, (str(self._program), *self._flags())), self._data_dir)
        there = service(NAME, NAMESPACE, self._port)
        apply(yaml.safe_dump_all([there, *api_services(there, GROUP, VERSIONS)]))
        path = f"/apis/{GROUP}/{VERSIONS[0]}"
        wait_for(lambda: client.get(path).is_success, self._process, "the custom metrics API", START_TIMEOUT_SECONDS)
        return self

    def stop(self) -> None:
        """Ends it; its registration stays."""
        if self._process is not None:
            self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _flags(self) -> tuple[str, ...]:
        return (
            *(f"--{name}-kubeconfig={self._kubeconfig}" for name in ("lister", "authentication", "authorization")),
            f"--secure-port={self._port}",
            f"--bind-address={LOOPBACK}",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--prometheus-url={self._prometheus_url}",
            f"--config={self._folder / 'rules.yaml'}",
            "--metrics-relist-interval=5s",
            "--metrics-max-age=30s",
        )
