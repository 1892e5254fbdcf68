"""One namespace of a real API server, as the administrator sees it, and a node that is always content."""

import json
import threading
import time
from typing import Any

import httpx

from devcluster.controlplane import ControlPlane

Json = dict[str, Any]
COLLECTIONS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/servicemonitors",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/api/v1/namespaces/{}/events",
    "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
    "MediaPipeline": "/apis/media.rtcscale.dev/v1alpha1/namespaces/{}/mediapipelines",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
}
CHILD_KINDS = tuple(COLLECTIONS)[:7]
_KUBELET_WATCH_SECONDS = 20


class World:
    """One namespace of the cluster, as the administrator."""

    def __init__(self, api: httpx.Client, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

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
        response = self.api.get(self.path(kind))
        found: list[Json] = [] if response.status_code == 404 else response.raise_for_status().json()["items"]
        return [{**item, "kind": kind} for item in found]

    def create(self, kind: str, body: Json) -> Json:
        response = self.api.post(self.path(kind), json=body)
        assert response.status_code == 201, response.text
        created: Json = response.json()
        return created

    def patch(self, kind: str, name: str, body: Json, subresource: str = "") -> httpx.Response:
        """A merge patch."""
        tail = f"/{subresource}" if subresource else ""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.api.patch(self.path(kind, name) + tail, json=body, headers=headers)

    def change(self, name: str, spec: Json) -> None:
        """Edits a pipeline's spec."""
        self.patch("MediaPipeline", name, {"spec": spec}).raise_for_status()

    def delete(self, kind: str, name: str) -> None:
        response = self.api.delete(self.path(kind, name))
        assert response.status_code in (200, 202, 404), response.text

    def pipeline(self, name: str, **spec: Any) -> Json:
        """Creates a MediaPipeline with one blur stage, an Ingress and `spec`."""
        stage = {"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}
        plain = {
            "pipeline": {"stages": [stage]},
            "compute": {"device": "CPU"},
            "networking": {"ingress": {"host": f"{name}.example.org"}},
        }
        body = {
            "apiVersion": "media.rtcscale.dev/v1alpha1",
            "kind": "MediaPipeline",
            "metadata": {"name": name},
            "spec": plain | spec,
        }
        return self.create("MediaPipeline", body)

    def status(self, name: str) -> Json:
        status: Json = (self.get("MediaPipeline", name) or {}).get("status") or {}
        return status

    def condition(self, name: str, kind: str) -> Json:
        """A condition, {} without it."""
        return next((item for item in self.status(name).get("conditions") or () if item["type"] == kind), {})

    def replicas(self, name: str) -> int:
        found = self.get("Deployment", name)
        return int(found["spec"].get("replicas", 1)) if found else 0

    def children(self, name: str) -> list[Json]:
        """All objects that belong, by label or by name, to the pipeline."""
        label = {"media.rtcscale.dev/pipeline": name}.items()
        return [
            item
            for kind in CHILD_KINDS
            for item in self.items(kind)
            if label <= (item["metadata"].get("labels") or {}).items() or item["metadata"]["name"] == name
        ]


class Kubelet(threading.Thread):
    """Says of each new pod that it runs and is ready; there is no node in this cluster."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        super().__init__(name=f"kubelet-{namespace}", daemon=True)
        self._plane = plane
        self._namespace = namespace
        self._stopped = threading.Event()

    def stop(self) -> None:
        """It ends with its present watch, which nobody waits for."""
        self._stopped.set()

    def run(self) -> None:
        with self._plane.client() as api:
            self._world = World(api, self._namespace)
            while not self._stopped.is_set():
                try:
                    self._watch()
                except (httpx.HTTPError, ValueError):
                    self._stopped.wait(0.5)  # etcd or the API server is being restarted

    def _watch(self) -> None:
        """Begins with all pods that are there: a watch without a version lists them first."""
        query = {"watch": "true", "timeoutSeconds": _KUBELET_WATCH_SECONDS}
        with self._world.api.stream("GET", self._world.path("Pod"), params=query, timeout=30) as response:
            for line in response.iter_lines():
                if self._stopped.is_set():
                    return
                pod = json.loads(line)["object"]
                if pod.get("kind") == "Pod" and not pod.get("status", {}).get("podIP"):
                    self._start(pod["metadata"]["name"])

    def _start(self, name: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        status = {"phase": "Running", "podIP": "127.64.255.254", "conditions": conditions}
        self._world.patch("Pod", name, {"status": status}, "status")
