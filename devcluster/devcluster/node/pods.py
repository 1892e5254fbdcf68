"""All pods of this node: one task for each."""

import asyncio
import shutil

import structlog

from devcluster.node.context import NodeContext
from devcluster.node.json_types import Json
from devcluster.node.pod import FORCED_GRACE_SECONDS, Pod
from devcluster.node.reflector import Change

_log = structlog.get_logger(__name__)
_LOGS_KEPT_OF_ENDED_PODS = 50
_KILL_SECONDS = 10.0


class Pods:
    """Turns changes of pod objects into running pods."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._pods: dict[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def on_change(self, change: Change, item: Json) -> None:
        """To be called by the reflector of the pods that are bound to this node."""
        uid = item["metadata"]["uid"]
        pod = self._pods.get(uid)
        if change == "DELETED":
            if pod:
                pod.stop(FORCED_GRACE_SECONDS)  # removed by force: its programs must not outlive it
        elif pod:
            pod.update(item)
        elif not self._stopping:
            self._begin(item)

    def _begin(self, item: Json) -> None:
        pod = Pod(item, self._context)
        self._pods[pod.uid] = pod
        pod.update(item)
        self._tasks[pod.uid] = asyncio.create_task(self._run(pod))

    async def _run(self, pod: Pod) -> None:
        try:
            await pod.run()
        except Exception:  # noqa: BLE001  one pod's fault must not end the others
            _log.exception("pod failed", pod=pod.pod["metadata"]["name"])
        finally:
            self._pods.pop(pod.uid, None)
            self._tasks.pop(pod.uid, None)
            if not self._stopping:
                self._context.addresses.release(pod.uid)
                self._remove_old_logs()

    def _remove_old_logs(self) -> None:
        """Logs stay after the pod, for reading them later; only those of the last few pods."""
        current = set(self._pods)
        folders = [f for f in self._context.pods_folder.iterdir() if f.name.rpartition("_")[2] not in current]
        folders.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in folders[_LOGS_KEPT_OF_ENDED_PODS:]:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def uids(self) -> set[str]:
        """The pods that this node has now."""
        return set(self._pods)

    async def stop(self, grace_seconds: float) -> None:
        """Ends all programs; the pods' objects stay."""
        self._stopping = True
        for pod in list(self._pods.values()):
            pod.stop(grace_seconds)
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds + _KILL_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
