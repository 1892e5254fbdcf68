"""execute(): the writes of a plan, in its order. What the API server rejects is reported, never swallowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import Key, MediaPipeline
from mediapipeline_operator.core.model import Apply, ChildRef, ChildState, Delete, Plan, Snapshot
from mediapipeline_operator.core.scaling.model import (
    Action,
    MarkDraining,
    MarkFirst,
    RequestDrain,
    RequestUndrain,
    SetReplicas,
    Unmark,
)
from mediapipeline_operator.core.scaling.state import rfc3339
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.shell.cluster.cache import ClusterCache
from mediapipeline_operator.shell.cluster.errors import ApiError, ConflictError, NotFoundError, ThrottledError
from mediapipeline_operator.shell.cluster.kinds import BY_NAME, DEPLOYMENT, PIPELINE, POD
from mediapipeline_operator.shell.cluster.writer import Writer
from mediapipeline_operator.shell.pods import PodAdmin

log = structlog.get_logger(__name__)


@dataclass
class Done:
    """What came of a plan. `stale`: something had changed meanwhile, so the rest was not tried; `at` names it."""

    failed: dict[ChildRef, str] = field(default_factory=dict)
    unrepairable: dict[ChildRef, tuple[str, str]] = field(default_factory=dict)
    applied_generation: int = 0
    stale: str = ""
    at: ChildRef | None = None  # the object of the last write
    scaled: bool = False  # every action of scaling was carried out
    retry_after_seconds: float = 0.0  # asked for by the API server


class Executor:
    """Raises NotLeaderError and UnreachableError: nobody knows what of the pass has happened, so it is observed
    and planned again. Raises ThrottledError: a server that has too much to do is not sent the rest.
    """

    def __init__(
        self, writer: Writer, cache: ClusterCache, pipelines: Pipelines, admin: PodAdmin, metrics: Metrics
    ) -> None:
        self._writer = writer
        self._cache = cache
        self._pipelines = pipelines
        self._admin = admin
        self._metrics = metrics

    async def execute(self, snapshot: Snapshot, plan: Plan) -> Done:
        """Children, the first number of replicas, deletes, then what scaling decided."""
        done = Done()
        key = snapshot.pipeline.key
        try:
            if plan.hand_over is not None:
                done.at = ChildRef(PIPELINE.name, key.name)
                await self._hand_over(snapshot.pipeline, plan.hand_over)
            await self._children(key, plan, done)
            if plan.initial_replicas is not None and not _deployment_failed(done):
                done.at = ChildRef(DEPLOYMENT.name, key.name)
                await self._scale(key, plan.initial_replicas, expect=None)
            for delete in plan.deletes:
                done.at = delete.ref
                await self._delete(key, delete)
            for action in plan.actions:
                done.at = _written(key, action)
                await self._act(key, action)
            done.scaled = True
        except (ConflictError, NotFoundError) as error:
            done.stale = str(error)
        except ThrottledError:
            raise
        except ApiError as error:
            done.failed[ChildRef("Deployment", key.name)] = error.message
        return done

    async def _children(self, key: Key, plan: Plan, done: Done) -> None:
        for apply in plan.applies:
            done.at = apply.ref
            try:
                await self._apply(apply, done)
            except (ConflictError, NotFoundError, ThrottledError):
                raise
            except ApiError as error:
                done.failed[apply.ref] = error.message
                done.retry_after_seconds = max(done.retry_after_seconds, error.retry_after_seconds or 0.0)
                log.warning("apply_failed", pipeline=str(key), child=str(apply.ref), error=str(error))

    async def _apply(self, apply: Apply, done: Done) -> None:
        live = await self._writer.apply(apply.manifest, apply.resource_version)
        self._metrics.writes.labels(apply.ref.kind, "apply").inc()
        child = self._cache.learn_child({**live, "kind": apply.ref.kind})
        namespace = apply.manifest["metadata"]["namespace"]
        log.info("child_applied", child=str(apply.ref), namespace=namespace, created=apply.resource_version is None)
        if child.deployment is not None:
            done.applied_generation = child.deployment.generation
        if child.digest != apply.digest:
            done.unrepairable[apply.ref] = (apply.digest, child.digest)
            log.warning("child_differs_after_apply", child=str(apply.ref), namespace=namespace)

    async def _hand_over(self, pipeline: MediaPipeline, replicas: int) -> None:
        """spec.replicas := the number that serves, before another engine begins to set it."""
        key = pipeline.key
        scale = await self._writer.scale(PIPELINE, key.namespace, key.name, replicas, pipeline.resource_version)
        self._metrics.writes.labels("MediaPipeline", "scale").inc()
        self._pipelines.learn_scale(pipeline, replicas, scale["metadata"]["resourceVersion"])
        log.info("replicas_handed_over", pipeline=str(key), replicas=replicas, before=pipeline.spec.replicas)

    async def _delete(self, key: Key, delete: Delete) -> None:
        """What is gone, by us or by somebody else, is forgotten at once: a silent watch would tell of it in a while,
        and until then the rest of the plan would never be tried.
        """
        kind = BY_NAME[delete.ref.kind]
        try:
            await self._writer.delete(kind, key.namespace, delete.ref.name, delete.uid, delete.resource_version)
        except NotFoundError:
            self._cache.forget(key.namespace, delete.ref)
            return
        self._cache.forget(key.namespace, delete.ref)
        self._metrics.writes.labels(delete.ref.kind, "delete").inc()
        log.info("child_deleted", child=str(delete.ref), namespace=key.namespace)

    async def _act(self, key: Key, action: Action) -> None:
        if isinstance(action, SetReplicas):
            await self._scale(key, action.to, expect=action.expect)
        elif isinstance(action, MarkDraining):
            await self._mark(key, action.pod, action.uid, _marks(rfc3339(action.at)))
        elif isinstance(action, MarkFirst):
            await self._mark(key, action.pod, action.uid, {"annotations": {labels.DELETION_COST: labels.FIRST_COST}})
        elif isinstance(action, Unmark):
            await self._mark(key, action.pod, action.uid, _marks(None))
        else:
            await self._ask(action)

    async def _scale(self, key: Key, replicas: int, *, expect: int | None) -> None:
        """Through /scale, from the observed resource version.

        The cache learns it at once, so that no pass plans it twice.
        """
        child = self._deployment(key)
        state = child.deployment
        if state is None or (expect is not None and state.replicas != expect):
            raise ConflictError(409, "Conflict", f"replicas of {child.ref} changed before they could be set")
        if state.replicas == replicas:
            return
        scale = await self._writer.scale(DEPLOYMENT, key.namespace, key.name, replicas, child.resource_version)
        self._metrics.writes.labels("Deployment", "scale").inc()
        self._cache.learn_scale(
            replace(
                child,
                resource_version=scale["metadata"]["resourceVersion"],
                deployment=replace(state, replicas=replicas, replicas_owned=True, generation=state.generation + 1),
            )
        )
        log.info("replicas_set", pipeline=str(key), replicas=replicas, before=state.replicas)

    def _deployment(self, key: Key) -> ChildState:
        children = self._cache.children(key.namespace, key.name)
        child = next((item for item in children if item.ref == ChildRef("Deployment", key.name)), None)
        if child is None:
            raise NotFoundError(404, "NotFound", f"Deployment {key.name} is gone")
        return child

    async def _mark(self, key: Key, pod: str, uid: str, marks: Mapping[str, Mapping[str, str | None]]) -> None:
        seen = next((item for item in self._cache.pods(key.namespace, key.name) if item.facts.uid == uid), None)
        if seen is None:
            raise NotFoundError(404, "NotFound", f"Pod {pod} is gone")
        live = await self._writer.mark_pod(key.namespace, pod, uid, seen.resource_version, marks)
        self._metrics.writes.labels("Pod", "patch").inc()
        self._cache.learn_pod(live)

    async def _ask(self, action: RequestDrain | RequestUndrain) -> None:
        """A pod that does not answer is asked again in the next pass: the mark on it says what is wanted."""
        asked = self._admin.drain if isinstance(action, RequestDrain) else self._admin.undrain
        if not await asked(action.address):
            log.info("pod_did_not_answer", pod=action.pod, address=action.address, asked=type(action).__name__)


def _deployment_failed(done: Done) -> bool:
    return any(ref.kind == "Deployment" for ref in done.failed)


def _marks(started: str | None) -> dict[str, dict[str, str | None]]:
    """Label, annotation and deletion cost of a draining pod in one patch; None removes them."""
    marked = started is not None
    return {
        "labels": {labels.DRAINING: "true" if marked else None},
        "annotations": {
            labels.DRAIN_STARTED_AT: started,
            labels.DELETION_COST: labels.DRAINING_COST if marked else None,
        },
    }


def _written(key: Key, action: Action) -> ChildRef:
    """The object that an action of scaling changes."""
    return ChildRef(DEPLOYMENT.name, key.name) if isinstance(action, SetReplicas) else ChildRef(POD.name, action.pod)
