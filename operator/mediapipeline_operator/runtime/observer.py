"""observe(): everything that a pass reads. Caches first; the cluster itself only before something would be created."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mediapipeline_operator.api.pipeline import Key, MediaPipeline
from mediapipeline_operator.core.model import ChildRef, ChildState, Memory, PodState, Snapshot, is_ours
from mediapipeline_operator.core.observed import child_state
from mediapipeline_operator.core.scaling.model import Signals
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.cache import ClusterCache
from mediapipeline_operator.shell.cluster.kinds import BY_NAME, PIPELINE, POD
from mediapipeline_operator.shell.cluster.reader import read
from mediapipeline_operator.shell.cluster.transport import Transport
from mediapipeline_operator.shell.pods import PodAdmin

_FOREIGN_SECONDS = 20.0  # for how long an object in the way, which no watch of ours sees, is believed to be there


class Observer:
    """Reads only. Raises ClusterError when the API server cannot be asked."""

    def __init__(self, transport: Transport, cache: ClusterCache, admin: PodAdmin, clock: Clock) -> None:
        self._transport = transport
        self._cache = cache
        self._admin = admin
        self._clock = clock
        self._foreign: dict[tuple[Key, ChildRef], tuple[float, ChildState]] = {}

    def snapshot(self, pipeline: MediaPipeline, memory: Memory, signals: Signals | None) -> Snapshot:
        """What the caches know."""
        key = pipeline.key
        children = {child.ref: child for child in self._cache.children(key.namespace, key.name)}
        return Snapshot(
            pipeline=pipeline,
            children={**self._in_the_way(key), **children},
            pods=self._cache.pods(key.namespace, key.name),
            unavailable=self._cache.unavailable,
            signals=signals,
            memory=memory,
            now=self._clock.now(),
            autoscalers=self._cache.autoscalers(key.namespace, key.name),
        )

    async def with_live(self, snapshot: Snapshot, refs: Iterable[ChildRef]) -> Snapshot:
        """The snapshot with what is really there under these names, labelled or not: nothing is created over it."""
        namespace = snapshot.pipeline.key.namespace
        found: dict[ChildRef, ChildState] = {}
        for ref in refs:
            live = await read(self._transport, BY_NAME[ref.kind], namespace, ref.name)
            if live is not None:
                found[ref] = child_state(live)
        self._remember(snapshot.pipeline, found)
        return replace(snapshot, children={**snapshot.children, **found})

    async def with_answers(self, snapshot: Snapshot, uids: Iterable[str]) -> Snapshot:
        """The snapshot with what these pods say of their sessions."""
        asked = set(uids)
        addresses = {
            pod.facts.uid: pod.facts.address for pod in snapshot.pods if pod.facts.uid in asked and pod.facts.address
        }
        answers = await self._admin.sessions_of(addresses.values())
        by_uid = {uid: answers[address] for uid, address in addresses.items() if address in answers}

        def answered(pod: PodState) -> PodState:
            answer = by_uid.get(pod.facts.uid)
            if answer is None:
                return pod
            return replace(pod, facts=replace(pod.facts, sessions=answer.sessions, admin_draining=answer.draining))

        return replace(snapshot, pods=tuple(answered(pod) for pod in snapshot.pods))

    async def exists(self, pipeline: MediaPipeline) -> bool:
        """Whether this very pipeline is still there and not being deleted: asked before anything is created for it."""
        live = await self.pipeline(pipeline.key)
        if live is None:
            return False
        return bool(live["metadata"]["uid"] == pipeline.uid and "deletionTimestamp" not in live["metadata"])

    async def pipeline(self, key: Key) -> dict[str, Any] | None:
        """The live resource, None when there is none."""
        return await read(self._transport, PIPELINE, key.namespace, key.name)

    async def look_again(self, namespace: str, ref: ChildRef) -> None:
        """Takes over what is there now: a watch that is late or silent would tell of it in a while, and every plan
        until then would fail on the same version.
        """
        live = await read(self._transport, BY_NAME[ref.kind], namespace, ref.name)
        if live is None:
            self._cache.forget(namespace, ref)
        elif ref.kind == POD.name:
            self._cache.learn_pod(live)
        else:
            self._cache.learn_child(live)

    def _remember(self, pipeline: MediaPipeline, found: Mapping[ChildRef, ChildState]) -> None:
        until = self._clock.monotonic() + _FOREIGN_SECONDS
        for ref, child in found.items():
            if not is_ours(child, pipeline):
                self._foreign[pipeline.key, ref] = (until, child)

    def _in_the_way(self, key: Key) -> dict[ChildRef, ChildState]:
        if not self._foreign:
            return {}
        now = self._clock.monotonic()
        self._foreign = {at: entry for at, entry in self._foreign.items() if entry[0] > now}
        return {ref: child for (owner, ref), (_, child) in self._foreign.items() if owner == key}
