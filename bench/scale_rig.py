"""The cluster of the operator's benchmark: etcd and kube-apiserver alone, our CRD, ServiceMonitors, a fake Prometheus.

etcd runs with --unsafe-no-fsync: every write would wait for the disk, of either operator alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from kubernetes.config import kube_config
from scale_clone import Etcd
from scale_cluster import ScaleCluster
from scale_prometheus import FakePrometheus
from scale_subjects import Place, S, Subject, until

from devcluster.binaries import CONTROL_PLANE, crd_manifests, ensure
from devcluster.controlplane import ControlPlane
from mediapipeline_operator.runtime.settings import load_settings
from mediapipeline_operator.shell.cluster.credentials import load_credentials
from mediapipeline_operator.shell.cluster.transport import Transport

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "bench"
_WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE")
_KINDS = (
    "mediapipelines", "deployments", "services", "serviceaccounts", "poddisruptionbudgets", "networkpolicies",
    "ingresses", "servicemonitors", "horizontalpodautoscalers", "pods", "events",
)  # fmt: skip
_START_SECONDS = 300.0
_SERVED_SECONDS = 120.0


class Rig:
    """The cluster, the fake Prometheus and the objects, and how to ask the API server what was written."""

    def __init__(
        self,
        cluster: ScaleCluster,
        transport: Transport,
        http: httpx.AsyncClient,
        etcd: httpx.AsyncClient,
        prometheus: FakePrometheus,
        place: Place,
    ) -> None:
        self.cluster = cluster
        self.transport = transport
        self.prometheus = prometheus
        self.tick_seconds = place.tick_seconds
        self._http = http
        self._etcd = etcd
        self._place = place
        self._started = 0

    @property
    def size(self) -> int:
        """Pipelines in the cluster."""
        return self.cluster.size

    def start(self, kind: type[S]) -> S:
        """Starts one more process."""
        self._started += 1
        return kind(self._place.numbered(self._started))

    async def writes(self) -> int:
        """Mutating requests about pipelines, children, pods and events that the API server has answered so far."""
        answer = await self._http.get("/metrics")
        lines = answer.raise_for_status().text.splitlines()
        return sum(int(float(line.rpartition(" ")[2])) for line in lines if _is_write(line))

    async def servers_cpu_seconds(self) -> float:
        """CPU time of the API server and etcd so far, by their own metrics."""
        answers = [await server.get("/metrics") for server in (self._http, self._etcd)]
        lines = [line for answer in answers for line in answer.raise_for_status().text.splitlines()]
        return sum(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds_total "))

    async def settled(self, subject: Subject, seconds: float) -> None:
        """Waits until nothing was written for a while. Raises TimeoutError."""
        last = -1

        async def quiet() -> bool:
            nonlocal last
            subject.process.check()
            before, last = last, await self.writes()
            return before == last

        await until(quiet, "an end of all writes", seconds, poll_seconds=1.3 * self.tick_seconds)


def _is_write(line: str) -> bool:
    return (
        line.startswith("apiserver_request_total{")
        and any(f'verb="{verb}"' in line for verb in _WRITES)
        and any(f'resource="{kind}"' in line for kind in _KINDS)
    )


@asynccontextmanager
async def rig_of(folder: Path, cluster_folder: Path, tick_seconds: float) -> AsyncIterator[Rig]:
    """A running cluster in `cluster_folder`, new or continued; logs of the operators go to `folder`."""
    plane = ControlPlane(cluster_folder, ensure(CONTROL_PLANE))
    await asyncio.to_thread(plane.start, _START_SECONDS)
    try:
        for name in ("kube-scheduler", "kube-controller-manager"):
            await asyncio.to_thread(plane.stop_component, name)
        await asyncio.to_thread(_install, plane)
        async with _in_cluster(plane, folder, tick_seconds) as rig:
            yield rig
    finally:
        await asyncio.to_thread(plane.stop)


@asynccontextmanager
async def _in_cluster(plane: ControlPlane, folder: Path, tick_seconds: float) -> AsyncIterator[Rig]:
    os.environ["KUBECONFIG"] = kube_config.KUBE_CONFIG_DEFAULT_LOCATION = str(plane.kubeconfig)
    prometheus = FakePrometheus(NAMESPACE)
    await prometheus.start()
    place = Place(folder, 0, plane.kubeconfig, NAMESPACE, prometheus.url, tick_seconds)
    headers = {"Authorization": f"Bearer {plane.admin_token}"}
    trusted = ssl.create_default_context(cafile=plane.ca_file)
    async with (
        Transport(load_credentials(), request_timeout_seconds=60.0, user_agent="bench") as transport,
        httpx.AsyncClient(base_url=plane.server_url, verify=trusted, headers=headers, timeout=60.0) as http,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{plane.layout.ports['etcd-client']}", timeout=60.0) as etcd,
    ):
        cluster = ScaleCluster(transport, Etcd(etcd), load_settings([]).build(), NAMESPACE)
        await cluster.count()
        yield Rig(cluster, transport, http, etcd, prometheus, place)
    await prometheus.close()


def _install(plane: ControlPlane) -> None:
    crds = [*(ROOT / "crds").glob("*.yaml"), crd_manifests("servicemonitors")]
    with plane.client() as api:
        made = api.post("/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}})
        if made.status_code != httpx.codes.CONFLICT:  # it is there when the cluster is an earlier run's
            made.raise_for_status()
        for path in crds:
            body = yaml.safe_load(path.read_text())
            url = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}"
            headers = {"Content-Type": "application/apply-patch+yaml"}
            query = {"fieldManager": "bench", "force": "true"}
            api.patch(url, content=json.dumps(body), headers=headers, params=query).raise_for_status()
            group, plural = body["spec"]["group"], body["spec"]["names"]["plural"]
            _wait_served(api, f"/apis/{group}/{body['spec']['versions'][0]['name']}/{plural}?limit=1")


def _wait_served(api: Any, path: str) -> None:
    deadline = time.monotonic() + _SERVED_SECONDS
    while api.get(path).status_code != httpx.codes.OK:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} is not served after {_SERVED_SECONDS:g} s")
        time.sleep(0.2)
