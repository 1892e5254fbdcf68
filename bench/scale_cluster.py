"""Thousands of MediaPipelines with all their children in an API server that has no node.

Children are exactly what the operator would apply (same manifests, same field manager), so that it finds them as it
wants them. Deployments say that they are complete; each has two ready pods that exist only as objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from scale_clone import Etcd, Pattern, free_services, pattern

from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources import BuildSettings, desired
from mediapipeline_operator.shell.cluster.errors import ApiError, ClusterError, ConflictError, UnreachableError
from mediapipeline_operator.shell.cluster.kinds import DEPLOYMENT, PIPELINE, POD, Kind
from mediapipeline_operator.shell.cluster.reader import list_all
from mediapipeline_operator.shell.cluster.transport import Transport
from mediapipeline_operator.shell.cluster.writer import Writer

Json = dict[str, Any]
PARALLEL = 32  # the transport's connections
PODS_EACH = 2
_ATTEMPTS = 4
_AGAIN_SECONDS = 2.0
_MERGE = "application/merge-patch+json"


class ScaleCluster:
    """Writes and changes the objects, as the administrator."""

    def __init__(self, transport: Transport, etcd: Etcd, settings: BuildSettings, namespace: str) -> None:
        self._transport = transport
        self._etcd = etcd
        self._settings = settings
        self._writer = Writer(transport, lambda: True)
        self.namespace = namespace
        self.size = 0

    async def count(self) -> None:
        """Learns how many pipelines an earlier run has left."""
        items, _ = await list_all(self._transport, PIPELINE, self.namespace)
        self.size = len(items)

    async def grow(self, size: int) -> None:
        """Until there are `size` pipelines: a few through the API server, the others as copies of one of them."""
        number, copied = 0, None
        while copied is None and self.size < size:
            if number >= self.size:
                await self._add(number)
                self.size = number + 1
            found = await pattern(self._etcd, self.namespace, name_of(number))
            copied = found if found.services else None  # an address as long as the others
            number += 1
        if copied is not None and self.size < size:
            await self._copy(copied, number - 1, size)
            self.size = size

    async def _copy(self, copied: Pattern, original: int, size: int) -> None:
        services = await free_services(self._etcd)

        async def put(number: int) -> None:
            addresses = {address.decode(): next(services) for address in copied.services}
            pods = {_address(original, index): _address(number, index) for index in range(PODS_EACH)}
            await self._etcd.put(copied.copy(name_of(number), addresses | pods))

        await for_each(range(self.size, size), put)

    async def change(self, number: int, spec: Json) -> None:
        """Merges `spec` into a pipeline's spec."""
        path = PIPELINE.item(self.namespace, name_of(number))
        await self._transport.request("PATCH", path, body={"spec": spec}, content_type=_MERGE)

    async def change_all(self, spec: Json) -> None:
        """The same for every pipeline."""
        await for_each(range(self.size), lambda number: self.change(number, spec))

    async def _add(self, number: int) -> None:
        wanted = MediaPipeline.from_object(await self._create(PIPELINE, pipeline(name_of(number))))
        for manifest in desired(wanted, self._settings):
            child = await self._writer.apply(manifest, None)
            if manifest["kind"] == "Deployment":
                await self._complete(child)
        for index in range(PODS_EACH):
            await self._add_pod(number, index)

    async def _create(self, kind: Kind, body: Json) -> Json:
        """The object as it is then, whoever has created it."""
        try:
            return await self._transport.request("POST", kind.collection(self.namespace), body=body)
        except ConflictError:
            return await self._transport.request("GET", kind.item(self.namespace, body["metadata"]["name"]))

    async def _complete(self, deployment: Json) -> None:
        """As the Deployment controller leaves it when everything runs."""
        meta = deployment["metadata"]
        if deployment["spec"]["replicas"] != PODS_EACH:
            await self._writer.scale(DEPLOYMENT, self.namespace, meta["name"], PODS_EACH, meta["resourceVersion"])
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), PODS_EACH)
        status = {"observedGeneration": meta["generation"] + 1, **counts}
        path = DEPLOYMENT.item(self.namespace, meta["name"], "status")
        await self._transport.request("PATCH", path, body={"status": status}, content_type=_MERGE)

    async def _add_pod(self, number: int, index: int) -> None:
        name = pod_of(number, index)
        meta = {
            "name": name,
            "labels": {"media.rtcscale.dev/pipeline": name_of(number), "pod-template-hash": "bench"},
        }
        spec = {"nodeName": "no-node", "containers": [{"name": "mediapod", "image": "example.org/mediapod:bench"}]}
        spec |= {"serviceAccountName": name_of(number), "automountServiceAccountToken": False}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        await self._create(POD, body)
        since = (datetime.now(UTC) - timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
        address = _address(number, index)
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
        path = POD.item(self.namespace, name, "status")
        await self._transport.request("PATCH", path, body={"status": status}, content_type=_MERGE)


def name_of(number: int) -> str:
    """Name of a pipeline."""
    return f"p{number:05d}"


def pod_of(number: int, index: int) -> str:
    """Name of one of its pods."""
    return f"{name_of(number)}-{index}"


def _address(number: int, index: int) -> str:
    """Of a pod; all are equally long."""
    return f"10.{100 + index}.{100 + number // 150}.{100 + number % 150}"


def pipeline(name: str) -> Json:
    """A pipeline with one stage and the defaults."""
    stage = {"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}
    return {
        "apiVersion": PIPELINE.api_version,
        "kind": PIPELINE.name,
        "metadata": {"name": name},
        "spec": {"pipeline": {"stages": [stage]}, "compute": {"device": "CPU"}},
    }


async def for_each(numbers: Iterable[int], work: Callable[[int], Awaitable[None]]) -> None:
    """Calls `work` for each number, some at a time. A busy server is asked again; the first other error ends all."""
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            await _again_when_busy(work, number)

    async with asyncio.TaskGroup() as group:
        for _ in range(PARALLEL):
            group.create_task(worker())


async def _again_when_busy(work: Callable[[int], Awaitable[None]], number: int) -> None:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await work(number)
        except ClusterError as error:
            if not _is_busy(error):
                raise
            await asyncio.sleep(_AGAIN_SECONDS)
    return await work(number)


def _is_busy(error: ClusterError) -> bool:
    overloaded = isinstance(error, ApiError) and error.status in (409, 429, 500, 503, 504)
    return overloaded or isinstance(error, UnreachableError)
