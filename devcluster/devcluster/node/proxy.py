"""The Service proxy: listens on ClusterIP:port and passes connections on to ready pods."""

import asyncio
import contextlib
import random
import time

import structlog

from devcluster.node.endpoints import EndpointChoice, ServicePort, service_ports
from devcluster.node.events import EventRecorder
from devcluster.node.forward import forward, reset
from devcluster.node.json_types import Json
from devcluster.node.service_table import ServiceTable

_log = structlog.get_logger(__name__)
MOST_CONNECTIONS = 2048
LISTEN_RETRY_SECONDS = 30.0


class ServiceProxy:
    """All Services of the cluster. ``run`` until cancelled; open connections end with it."""

    def __init__(self, table: ServiceTable, events: EventRecorder) -> None:
        self._table, self._events = table, events
        self._changed = table.subscribe()
        self._listeners: dict[ServicePort, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._choice = EndpointChoice(random.choice)

    async def run(self) -> None:
        """Listens for all Services of the table until cancelled."""
        try:
            await self._follow()
        finally:
            await self._close()

    async def _follow(self) -> None:
        while True:
            wanted = {port: service for service in self._table.services for port in service_ports(service)}
            for port in set(self._listeners) - set(wanted):
                self._listeners.pop(port).close()
            for port in set(wanted) - set(self._listeners):
                await self._listen(port, wanted[port])
            refused = set(wanted) - set(self._listeners)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LISTEN_RETRY_SECONDS if refused else None)
            self._changed.clear()

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
        target = self._choice.choose(port, client, self._table.addresses(port), time.monotonic())
        if target is None or len(self._connections) >= MOST_CONNECTIONS:
            reset(writer)
            return
        task = asyncio.create_task(forward(reader, writer, target))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _close(self) -> None:
        for server in self._listeners.values():
            server.close()
        self._listeners.clear()
        open_connections = list(self._connections)
        for task in open_connections:
            task.cancel()
        await asyncio.gather(*open_connections, return_exceptions=True)
