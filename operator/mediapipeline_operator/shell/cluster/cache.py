"""All caches of the cluster together: one store a kind, kept by informers, asked by pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mediapipeline_operator.core.model import AutoscalerState, ChildRef, ChildState, PodState
from mediapipeline_operator.core.observed import autoscaler_state, child_state, pod_state, rollout_in_progress
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.informer import Informer
from mediapipeline_operator.shell.cluster.kinds import CHILD_KINDS, DEPLOYMENT, HPA, POD
from mediapipeline_operator.shell.cluster.store import PipelineName, Store
from mediapipeline_operator.shell.cluster.transport import Transport

_NEWEST = str(2**62)


class ClusterCache:
    """`on_change` gets the pipelines that an observed change touches; `on_availability` is called when a kind
    comes or goes.
    """

    def __init__(
        self,
        transport: Transport,
        namespaces: Iterable[str],
        on_change: Callable[[set[PipelineName]], None],
        on_availability: Callable[[], None],
        clock: Clock,
        resync_seconds: float,
    ) -> None:
        self._children: dict[str, Store[ChildState]] = {kind.name: Store() for kind in CHILD_KINDS}
        self._pods: Store[PodState] = Store()
        self._autoscalers: Store[AutoscalerState] = Store()
        scopes = tuple(namespaces) or (None,)
        self._informers: list[Informer[ChildState] | Informer[PodState] | Informer[AutoscalerState]] = []
        told = (on_change, on_availability, clock, resync_seconds)
        for scope in scopes:
            self._informers += [
                Informer(transport, kind, scope, self._children[kind.name], child_state, *told) for kind in CHILD_KINDS
            ]
            self._informers.append(Informer(transport, POD, scope, self._pods, pod_state, *told))
            # Others' autoscalers do not carry our label; of each only its name, owner and target are kept.
            self._informers.append(
                Informer(transport, HPA, scope, self._autoscalers, autoscaler_state, *told, selector="")
            )

    async def run(self) -> None:
        """Keeps all caches current until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run(), name=f"informer-{informer.kind.name}")

    @property
    def synced(self) -> bool:
        """Whether every kind has been listed, or is known to be unavailable."""
        return all(informer.synced for informer in self._informers)

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Kinds that the cluster lacks or forbids, and why."""
        return {informer.kind.name: informer.unavailable for informer in self._informers if informer.unavailable}

    def children(self, namespace: str, pipeline: str) -> tuple[ChildState, ...]:
        """Objects of all child kinds that carry the pipeline's label."""
        return tuple(child for store in self._children.values() for child in store.of_pipeline(namespace, pipeline))

    def pods(self, namespace: str, pipeline: str) -> tuple[PodState, ...]:
        """The pipeline's pods."""
        return self._pods.of_pipeline(namespace, pipeline)

    def rolling_out(self) -> tuple[PipelineName, ...]:
        """Pipelines whose Deployments replace pods, or are about to."""
        return tuple(
            (child.namespace, child.pipeline)
            for child in self._children[DEPLOYMENT.name].all()
            if child.deployment is not None and rollout_in_progress(child.deployment, child.deployment.generation)
        )

    def autoscalers(self, namespace: str, pipeline: str) -> tuple[AutoscalerState, ...]:
        """Autoscalers of anybody on the pipeline or on a Deployment of its name."""
        return self._autoscalers.of_pipeline(namespace, pipeline)

    def learn_child(self, obj: Mapping[str, Any]) -> ChildState:
        """Takes the answer to a read or write of ours over at once, without waiting for the watch."""
        child = child_state(obj)
        self._children[child.ref.kind].put(child.ref.name, child)
        return child

    def learn_pod(self, obj: Mapping[str, Any]) -> None:
        """As learn_child, for a pod."""
        pod = pod_state({**obj, "kind": POD.name})
        self._pods.put(pod.facts.name, pod)

    def learn_scale(self, child: ChildState) -> None:
        """A Deployment as it is after a write to its /scale, which does not answer with the Deployment."""
        self._children[child.ref.kind].put(child.ref.name, child)

    def forget(self, namespace: str, ref: ChildRef) -> None:
        """Drops a child or a pod that the API server says is gone."""
        store = self._pods if ref.kind == POD.name else self._children[ref.kind]
        store.remove(namespace, ref.name, _NEWEST)
