"""The Services and pods of the whole cluster, as far as connections need them, followed by list and watch."""

import asyncio
from collections.abc import Iterable

from devcluster.node.api import ApiClient
from devcluster.node.endpoints import Address, PodEndpoint, ServicePort, eligible
from devcluster.node.json_types import Json
from devcluster.node.reflector import Change, Reflector


def _pod_projection(pod: Json) -> Json:
    """What ``PodEndpoint.of`` reads, and the identity; anything else of a pod is not kept."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    kept = ("uid", "namespace", "name", "labels", "deletionTimestamp")
    ready = [c for c in status.get("conditions") or () if c["type"] == "Ready"]
    return {
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"containers": [{"ports": c.get("ports") or []} for c in pod["spec"]["containers"]]},
        "status": {
            "podIP": status.get("podIP", ""),
            "phase": status.get("phase"),
            "conditions": [{"type": "Ready", "status": c["status"]} for c in ready],
        },
    }


def _service_projection(service: Json) -> Json:
    metadata = {key: service["metadata"][key] for key in ("uid", "namespace", "name")}
    return {"metadata": metadata, "spec": service["spec"]}


class ServiceTable:
    """What the Service proxy and the address files read. ``run`` until cancelled."""

    def __init__(self, client: ApiClient) -> None:
        self._pods: dict[str, PodEndpoint] = {}
        self._services: dict[str, Json] = {}
        self._addresses: dict[ServicePort, list[Address]] = {}
        self._subscribers: list[asyncio.Event] = []
        self._reflectors = [
            Reflector(client, "/api/v1/pods", self._on_pod, project=_pod_projection),
            Reflector(client, "/api/v1/services", self._on_service, project=_service_projection),
        ]

    def subscribe(self) -> asyncio.Event:
        """An event that is set with every change; whoever waits for it clears it."""
        self._subscribers.append(asyncio.Event())
        return self._subscribers[-1]

    @property
    def services(self) -> Iterable[Json]:
        """All Services: identity and spec."""
        return self._services.values()

    def addresses(self, port: ServicePort) -> list[Address]:
        """The pods that a port of a Service leads to, in a stable order."""
        if port not in self._addresses:
            self._addresses[port] = eligible(port, self._pods.values())
        return self._addresses[port]

    async def run(self) -> None:
        """Follows Services and pods until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    def _on_pod(self, change: Change, pod: Json) -> None:
        if change == "SET":
            self._pods[pod["metadata"]["uid"]] = PodEndpoint.of(pod)
        else:
            self._pods.pop(pod["metadata"]["uid"], None)
        self._changed()

    def _on_service(self, change: Change, service: Json) -> None:
        if change == "SET":
            self._services[service["metadata"]["uid"]] = service
        else:
            self._services.pop(service["metadata"]["uid"], None)
        self._changed()

    def _changed(self) -> None:
        self._addresses.clear()
        for subscriber in self._subscribers:
            subscriber.set()
