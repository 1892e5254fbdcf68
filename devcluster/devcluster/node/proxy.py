"""The Service proxy: listens on ClusterIP:port and passes connections on to ready pods."""

import asyncio
import contextlib
import random
import time

import structlog

from devcluster.node.api import ApiClient
from devcluster.node.endpoints import Address, EndpointChoice, PodEndpoint, ServicePort, eligible, service_ports
from devcluster.node.events import EventRecorder
from devcluster.node.forward import forward, reset
from devcluster.node.json_types import Json
from devcluster.node.reflector import Change, Reflector

_log = structlog.get_logger(__name__)
MOST_CONNECTIONS = 2048
LISTEN_RETRY_SECONDS = 30.0


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


class ServiceProxy:
    """All Services of the cluster. ``run`` until cancelled; open connections end with it."""

    def __init__(self, client: ApiClient, events: EventRecorder) -> None:
        self._events = events
        self._pods: dict[str, PodEndpoint] = {}
        self._services: dict[str, Json] = {}
        self._listeners: dict[ServicePort, asyncio.Server] = {}
        self._candidates: dict[ServicePort, list[Address]] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._services_changed = asyncio.Event()
        self._choice = EndpointChoice(random.choice)
        self._reflectors = [
            Reflector(client, "/api/v1/pods", self._on_pod, project=_pod_projection),
            Reflector(client, "/api/v1/services", self._on_service, project=_service_projection),
        ]

    def _on_pod(self, change: Change, pod: Json) -> None:
        self._candidates.clear()
        if change == "SET":
            self._pods[pod["metadata"]["uid"]] = PodEndpoint.of(pod)
        else:
            self._pods.pop(pod["metadata"]["uid"], None)

    def _on_service(self, change: Change, service: Json) -> None:
        if change == "SET":
            self._services[service["metadata"]["uid"]] = service
        else:
            self._services.pop(service["metadata"]["uid"], None)
        self._services_changed.set()

    async def run(self) -> None:
        """Follows Services and pods until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for reflector in self._reflectors:
                    group.create_task(reflector.run())
                group.create_task(self._follow())
        finally:
            await self._close()

    async def _follow(self) -> None:
        while True:
            wanted = {port: service for service in self._services.values() for port in service_ports(service)}
            for port in set(self._listeners) - set(wanted):
                self._listeners.pop(port).close()
                self._candidates.pop(port, None)
            for port in set(wanted) - set(self._listeners):
                await self._listen(port, wanted[port])
            refused = set(wanted) - set(self._listeners)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._services_changed.wait(), LISTEN_RETRY_SECONDS if refused else None)
            self._services_changed.clear()

    async def _listen(self, port: ServicePort, service: Json) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._accept(port, reader, writer)

        try:
            self._listeners[port] = await asyncio.start_server(accept, port.cluster_ip, port.port)
        except OSError as error:
            message = f"the Service proxy cannot listen on {port.cluster_ip}:{port.port}: {error}"
            _log.warning("service port not served", service=port.service, namespace=port.namespace, error=str(error))
            self._events.record("Service", service, "PortNotServed", message, warning=True)

    def _accept(self, port: ServicePort, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[0]
        target = self._choice.choose(port, client, self._addresses(port), time.monotonic())
        if target is None or len(self._connections) >= MOST_CONNECTIONS:
            reset(writer)
            return
        task = asyncio.create_task(forward(reader, writer, target))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def _addresses(self, port: ServicePort) -> list[Address]:
        if port not in self._candidates:
            self._candidates[port] = eligible(port, self._pods.values())
        return self._candidates[port]

    async def _close(self) -> None:
        for server in self._listeners.values():
            server.close()
        self._listeners.clear()
        open_connections = list(self._connections)
        for task in open_connections:
            task.cancel()
        await asyncio.gather(*open_connections, return_exceptions=True)
