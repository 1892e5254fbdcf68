"""KEDA: its operator, and its server of external.metrics.k8s.io, which ask each other over mutual TLS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import yaml

from devcluster.autoscalers.registration import api_services, service, wait_for
from devcluster.autoscalers.servers import Servers, api_flags
from devcluster.binaries import KEDA_KINDS, crd_manifests
from devcluster.controlplane.addresses import LOOPBACK, free_ports
from devcluster.controlplane.health import answers_ok
from devcluster.controlplane.pki import create_mutual_tls

OPERATOR, METRICS = "keda-operator", "keda-metrics-apiserver"
GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
NAMESPACE = "keda"
START_TIMEOUT_SECONDS = 300.0


class Keda(Servers):
    """KEDA's two servers; blocks. Its admission webhooks are left out: they only refuse nonsense."""

    def __init__(self, data_dir: Path, programs: Mapping[str, Path], *, kubeconfig: Path, namespace: str = "") -> None:
        """Args:
        data_dir: for logs and certificates.
        programs: paths by name (`binaries.KEDA_PROGRAMS`).
        kubeconfig: of a user who may do everything that KEDA does.
        namespace: whose ScaledObjects it looks after; empty: all.
        """
        super().__init__(data_dir)
        self._programs = programs
        self._certificates = data_dir / "keda-certificates"
        self._environment = {
            "KUBECONFIG": str(kubeconfig),
            "WATCH_NAMESPACE": namespace,
            "POD_NAMESPACE": NAMESPACE,
            "KEDA_CLUSTER_OBJECT_NAMESPACE": namespace
            or NAMESPACE,  # one that it watches: it finds no Secret elsewhere
        }
        self._kubeconfig = kubeconfig
        self._ports = free_ports(("metrics", "probes", "service", "api", "api-metrics"))

    def _register(self, client: httpx.Client, apply: Callable[[str], object]) -> None:
        for plural in KEDA_KINDS:
            apply(crd_manifests(plural).read_text())
        create_mutual_tls(self._certificates, OPERATOR, LOOPBACK)
        operator = self.run(OPERATOR, self._programs[OPERATOR], self._operator_flags(), self._environment)
        probes = f"http://{LOOPBACK}:{self._ports['probes']}/readyz"
        wait_for(lambda: answers_ok(probes), operator, "KEDA's operator", START_TIMEOUT_SECONDS)
        metrics = self.run(METRICS, self._programs[METRICS], self._metrics_flags(), self._environment)
        there = service(METRICS, NAMESPACE, self._ports["api"])
        home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        apply(yaml.safe_dump_all([home, there, *api_services(there, GROUP, (VERSION,))]))
        path = f"/apis/{GROUP}/{VERSION}"
        wait_for(lambda: client.get(path).is_success, metrics, "KEDA's metrics API", START_TIMEOUT_SECONDS)

    def _operator_flags(self) -> tuple[str, ...]:
        return (
            f"--metrics-bind-address={LOOPBACK}:{self._ports['metrics']}",
            f"--health-probe-bind-address={LOOPBACK}:{self._ports['probes']}",
            f"--metrics-service-bind-address={LOOPBACK}:{self._ports['service']}",
            f"--cert-dir={self._certificates}",
            "--enable-cert-rotation=false",
        )

    def _metrics_flags(self) -> tuple[str, ...]:
        return (
            *api_flags(self._kubeconfig, self._ports["api"], self._certificates),
            f"--port={self._ports['api-metrics']}",
            f"--metrics-service-address={LOOPBACK}:{self._ports['service']}",
        )
