"""The life of one pod on this node, from its binding to the removal of its object."""

import asyncio
import contextlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

import structlog

from devcluster.node.api import ApiError
from devcluster.node.container import Container
from devcluster.node.container_state import ContainerState, Terminated, Waiting, parse_time, restored
from devcluster.node.context import NodeContext
from devcluster.node.downward import PodFacts
from devcluster.node.json_types import Json
from devcluster.node.status import PodRuntime
from devcluster.node.status_writer import StatusWriter
from devcluster.node.stopping import StopSignal
from devcluster.node.volumes import PodVolumes, VolumeError, keep_fresh

_log = structlog.get_logger(__name__)
_VOLUME_RETRY_SECONDS = (1.0, 30.0)
_LAST_WRITE_SECONDS = 10.0
FORCED_GRACE_SECONDS = 2.0


def pod_folder_name(pod: Json) -> str:
    """``namespace_name_uid``."""
    metadata = pod["metadata"]
    return f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


class Pod:
    """One pod. ``run`` does everything; ``update`` brings newer versions of the object."""

    def __init__(self, pod: Json, context: NodeContext) -> None:
        self.pod, self._context = pod, context
        self.uid: str = pod["metadata"]["uid"]
        self._folder: Path = context.pods_folder / pod_folder_name(pod)
        self._stop = StopSignal()
        self._runtime = _runtime(pod, context.host_ip)
        self._status = StatusWriter(context.client, pod, self._runtime)
        self._volumes = PodVolumes(self._folder / "volumes", context.sources)
        self._log = _log.bind(namespace=pod["metadata"]["namespace"], pod=pod["metadata"]["name"])

    def update(self, pod: Json) -> None:
        """A newer version of the object; a deletion ends the pod within its grace period."""
        self.pod = pod
        self._status.observe(pod)
        if pod["metadata"].get("deletionTimestamp"):
            self._stop.request(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))

    def stop(self, grace_seconds: float) -> None:
        """Ends the pod's programs within ``grace_seconds``."""
        self._stop.request(grace_seconds)

    async def run(self) -> None:
        """Returns when the pod's last program has ended and, if it was deleted, its object is gone."""
        writing = asyncio.create_task(self._status.run())
        try:
            if not self._over_before():
                await self._live()
                await self._flush()
            self._free()
            await self._stop.wait()  # a pod that has completed stays until it is deleted
            await self._remove()
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            self._free()

    def _over_before(self) -> bool:
        return (self.pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}

    async def _live(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._runtime.pod_ip = self._address()
        self._status.changed()
        refreshing: asyncio.Task[None] | None = None
        try:
            if await self._set_up_volumes():
                refreshing = asyncio.create_task(keep_fresh(self._volumes, self._facts, self._volume_warning))
                if await self._run_init_containers():
                    await self._run_containers()
        finally:
            if refreshing:
                refreshing.cancel()
                await asyncio.gather(refreshing, return_exceptions=True)
        self._runtime.ended = self._stop.requested and bool(self.pod["metadata"].get("deletionTimestamp"))
        self._status.changed()

    def _address(self) -> str:
        if self.pod["spec"].get("hostNetwork"):
            return self._context.host_ip
        return self._context.addresses.claim(self.uid)

    def _facts(self) -> PodFacts:
        context = self._context
        return PodFacts(self.pod, self._runtime.pod_ip, context.host_ip, context.node_name, context.allocatable)

    async def _set_up_volumes(self) -> bool:
        """Returns False when the pod was told to stop before its volumes could be set up."""
        wait_seconds = _VOLUME_RETRY_SECONDS[0]
        while not self._stop.requested:
            try:
                await self._volumes.set_up(self._facts())
            except VolumeError as error:
                self._volume_warning(str(error))
                await self._stop.wait(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _VOLUME_RETRY_SECONDS[1])
            else:
                return True
        return False

    def _volume_warning(self, message: str) -> None:
        self._log.warning("volume not set up", error=message)
        self._context.events.record("Pod", self.pod, "FailedMount", message, warning=True)

    async def _run_init_containers(self) -> bool:
        """One after the other. Returns whether all of them succeeded."""
        policy = "OnFailure" if self._runtime.restart_policy == "Always" else self._runtime.restart_policy
        specs = self.pod["spec"].get("initContainers") or ()
        for spec, state in zip(specs, self._runtime.init_containers, strict=True):
            await self._container(spec, state, policy).run()
            if not isinstance(state.state, Terminated) or state.state.exit_code != 0:
                return False
        return not self._stop.requested

    async def _run_containers(self) -> None:
        specs, policy = self.pod["spec"]["containers"], self._runtime.restart_policy
        async with asyncio.TaskGroup() as group:
            for spec, state in zip(specs, self._runtime.containers, strict=True):
                if isinstance(state.state, Waiting) and state.state.reason == "PodInitializing":
                    state.state = Waiting("ContainerCreating")
                group.create_task(self._container(spec, state, policy).run())

    def _container(self, spec: Json, state: ContainerState, policy: str) -> Container:
        return Container(
            spec,
            state,
            self._facts,
            self._context,
            self._volumes,
            self._folder,
            self._stop,
            self._status.changed,
            restart_policy=policy,
        )

    async def _flush(self) -> None:
        try:
            await asyncio.wait_for(self._status.flush(), _LAST_WRITE_SECONDS)
        except (ApiError, TimeoutError) as error:
            self._log.warning("last status not written", error=str(error))

    async def _remove(self) -> None:
        """Deletes the object, if its deletion was asked for; retried until it is gone."""
        metadata = self.pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        options: Json = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        for attempt in range(6):
            if not self.pod["metadata"].get("deletionTimestamp") or self._status.gone:
                return
            try:
                await self._context.client.delete(path, options)
            except ApiError as error:
                if error.status in {404, 409}:
                    return
                self._log.warning("pod object not removed", error=str(error))
                await asyncio.sleep(0.5 * 2**attempt)
            else:
                return

    def _free(self) -> None:
        """Gives the address back and removes everything but the logs. To be called when no program runs any more."""
        if self._runtime.ended or self._over_before() or self._completed():
            self._context.addresses.release(self.uid)
        for path in (self._folder / "volumes", self._folder / "home"):
            shutil.rmtree(path, ignore_errors=True)
        for pattern in ("*.launch.json", "kubeconfig*"):
            for path in self._folder.glob(pattern):
                path.unlink(missing_ok=True)
        for path in self._folder.glob("*.root"):
            with contextlib.suppress(OSError):
                path.rmdir()

    def _completed(self) -> bool:
        return not self._stop.requested and all(c.final for c in self._runtime.containers)


def _runtime(pod: Json, host_ip: str) -> PodRuntime:
    spec, status = pod["spec"], pod.get("status") or {}
    policy, now = spec.get("restartPolicy", "Always"), datetime.now(UTC)
    before = {s["name"]: s for s in status.get("containerStatuses") or ()}
    before_init = {s["name"]: s for s in status.get("initContainerStatuses") or ()}
    init_policy = "Never" if policy == "Never" else "OnFailure"
    init = [
        restored(c, before_init.get(c["name"]), now, restart_policy=init_policy)
        for c in spec.get("initContainers") or ()
    ]
    containers = [restored(c, before.get(c["name"]), now, restart_policy=policy) for c in spec["containers"]]
    if init and not before:
        for container in containers:
            container.state = Waiting("PodInitializing")
    started_at = parse_time(status["startTime"]) if status.get("startTime") else now
    gates = tuple(gate["conditionType"] for gate in spec.get("readinessGates") or ())
    return PodRuntime(status.get("podIP", ""), host_ip, started_at, policy, containers, init, gates)
