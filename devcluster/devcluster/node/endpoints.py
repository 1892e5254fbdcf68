"""Which pods a Service's connection may go to. No I/O; the clock and the random choice are arguments."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from devcluster.node.json_types import Json

HEADLESS = "None"
"""The clusterIP of a headless Service."""


@dataclass(frozen=True)
class PodEndpoint:
    """What the proxy remembers of a pod."""

    namespace: str
    name: str
    labels: dict[str, str]
    address: str
    ready: bool
    ended: bool
    ports: dict[str, int]

    @classmethod
    def of(cls, pod: Json) -> Self:
        """From a pod object."""
        status, metadata = pod.get("status") or {}, pod["metadata"]
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        ports = [p for container in pod["spec"]["containers"] for p in container.get("ports") or ()]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            labels=metadata.get("labels") or {},
            address=status.get("podIP", ""),
            ready=conditions.get("Ready") == "True" and not metadata.get("deletionTimestamp"),
            ended=status.get("phase") in {"Succeeded", "Failed"},
            ports={p["name"]: p["containerPort"] for p in ports if p.get("name")},
        )


@dataclass(frozen=True)
class ServicePort:
    """One TCP port of a Service with a selector; ``cluster_ip`` is "None" for a headless one."""

    namespace: str
    service: str
    name: str
    cluster_ip: str
    port: int
    target_port: int | str
    selector: tuple[tuple[str, str], ...]
    publish_not_ready: bool = False
    affinity_seconds: float | None = None
    """sessionAffinity ClientIP with this time-out; None: no affinity."""


def service_ports(service: Json) -> list[ServicePort]:
    """The ports that the proxy listens on for ``service``: none for headless, ExternalName and selectorless ones."""
    return [] if service["spec"].get("clusterIP") == HEADLESS else _ports(service)


def headless_ports(service: Json) -> list[ServicePort]:
    """The ports of a headless Service with a selector, none for every other."""
    return _ports(service) if service["spec"].get("clusterIP") == HEADLESS else []


def _ports(service: Json) -> list[ServicePort]:
    spec, metadata = service["spec"], service["metadata"]
    address, selector = spec.get("clusterIP"), spec.get("selector")
    if not address or not selector or spec.get("type") == "ExternalName":
        return []
    affinity = None
    if spec.get("sessionAffinity") == "ClientIP":
        affinity = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds", 10800)
    return [
        ServicePort(
            namespace=metadata["namespace"],
            service=metadata["name"],
            name=port.get("name", ""),
            cluster_ip=address,
            port=port["port"],
            target_port=port.get("targetPort") or port["port"],
            selector=tuple(sorted(selector.items())),
            publish_not_ready=bool(spec.get("publishNotReadyAddresses")),
            affinity_seconds=affinity,
        )
        for port in spec.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    ]


Address = tuple[str, int]
"""IP address and port."""


def eligible(service: ServicePort, pods: Iterable[PodEndpoint]) -> list[Address]:
    """The pods' addresses that new connections may go to, in a stable order."""
    found = (_address(service, pod) for pod in pods if _matches(service, pod))
    return sorted(address for address in found if address)


def _matches(service: ServicePort, pod: PodEndpoint) -> bool:
    usable = pod.address and not pod.ended and (pod.ready or service.publish_not_ready)
    same = pod.namespace == service.namespace
    return bool(usable) and same and all(pod.labels.get(key) == value for key, value in service.selector)


def _address(service: ServicePort, pod: PodEndpoint) -> Address | None:
    if isinstance(service.target_port, int):
        return pod.address, service.target_port
    port = pod.ports.get(service.target_port)
    return (pod.address, port) if port else None


@dataclass
class EndpointChoice:
    """Chooses one address for each connection; remembers at most ``limit`` clients for sessionAffinity ClientIP."""

    pick: Callable[[Sequence[Address]], Address]
    limit: int = 4096
    _sticky: OrderedDict[tuple[ServicePort, str], tuple[Address, float]] = field(default_factory=OrderedDict)

    def choose(self, service: ServicePort, client: str, candidates: Sequence[Address], now: float) -> Address | None:
        """One of ``candidates`` for ``client`` (IP address) at monotonic time ``now``; None when there is none."""
        if not candidates:
            return None
        if service.affinity_seconds is None:
            return self.pick(candidates)
        key = (service, client)
        address, until = self._sticky.get(key, (None, 0.0))
        if address is None or address not in candidates or now > until:
            address = self.pick(candidates)
        self._sticky[key] = (address, now + service.affinity_seconds)
        self._sticky.move_to_end(key)
        while len(self._sticky) > self.limit:
            self._sticky.popitem(last=False)
        return address
