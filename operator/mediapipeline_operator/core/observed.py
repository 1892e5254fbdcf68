"""From the API server's JSON to the little that a pass needs of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.core.drift import owned_digest, owns_replicas
from mediapipeline_operator.core.model import AutoscalerState, ChildRef, ChildState, DeploymentState, Owner, PodState
from mediapipeline_operator.core.scaling.model import PodFacts, WorkloadFacts

Json = Mapping[str, Any]
_WAITING_PROBLEMS = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CrashLoopBackOff", "CreateContainerConfigError"}
)


def child_state(obj: Json) -> ChildState:
    """The projection of a child. `obj` must carry its kind and managedFields."""
    meta = obj["metadata"]
    return ChildState(
        ref=ChildRef(obj["kind"], meta["name"]),
        namespace=meta["namespace"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        pipeline=(meta.get("labels") or {}).get(labels.PIPELINE, ""),
        owner=_owner(meta.get("ownerReferences") or ()),
        digest=owned_digest(obj, labels.MANAGER),
        deleting="deletionTimestamp" in meta,
        deployment=_deployment_state(obj) if obj["kind"] == "Deployment" else None,
    )


def pod_state(obj: Json) -> PodState:
    """The projection of a pod. Sessions are unknown until the pod itself is asked."""
    meta, status = obj["metadata"], obj.get("status") or {}
    pod_labels = meta.get("labels") or {}
    problem, since = _problem(status)
    return PodState(
        namespace=meta["namespace"],
        pipeline=pod_labels.get(labels.PIPELINE, ""),
        resource_version=meta["resourceVersion"],
        template_hash=pod_labels.get("pod-template-hash", ""),
        facts=_pod_facts(meta, pod_labels, status),
        problem=problem,
        problem_since=since,
    )


def autoscaler_state(obj: Json) -> AutoscalerState:
    """The projection of a HorizontalPodAutoscaler."""
    meta, target = obj["metadata"], obj["spec"]["scaleTargetRef"]
    group = str(target.get("apiVersion", "")).partition("/")[0]
    concerns_us = (group, target["kind"]) in (("apps", "Deployment"), (labels.GROUP, labels.KIND))
    owner: Json = next((item for item in meta.get("ownerReferences") or () if item.get("controller")), {})
    return AutoscalerState(
        namespace=meta["namespace"],
        name=meta["name"],
        resource_version=meta["resourceVersion"],
        pipeline=target["name"] if concerns_us else "",
        target_kind=target["kind"],
        owner_kind=owner.get("kind", ""),
        owner_name=owner.get("name", ""),
        owner_uid=owner.get("uid", ""),
    )


def workload_facts(deployment: DeploymentState, pods: Iterable[PodState], *, applied_generation: int) -> WorkloadFacts:
    """What scaling sees of the Deployment and its pods; finished pods are no workload."""
    rollout = rollout_in_progress(deployment, applied_generation)
    return WorkloadFacts(
        replicas=deployment.replicas,
        rollout_in_progress=rollout,
        rollout_since=deployment.last_progress if rollout else None,
        pods=_with_revisions(tuple(pods), deployment),
    )


def rollout_in_progress(deployment: DeploymentState, applied_generation: int) -> bool:
    """Whether pods of an older template remain.

    A mere change of replicas is no rollout, though it raises the generation.
    """
    return deployment.observed_generation < applied_generation or deployment.current > deployment.updated


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339 as Kubernetes writes it, in UTC; None for nothing or nonsense."""
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _owner(references: Iterable[Json]) -> Owner | None:
    for reference in references:
        ours = reference.get("kind") == labels.KIND and str(reference.get("apiVersion")).startswith(labels.GROUP + "/")
        if ours and reference.get("controller"):
            return Owner(reference["name"], reference["uid"])
    return None


def _deployment_state(obj: Json) -> DeploymentState:
    meta, status = obj["metadata"], obj.get("status") or {}
    progressing = _condition(status, "Progressing")
    failure = _condition(status, "ReplicaFailure")
    return DeploymentState(
        replicas=obj["spec"].get("replicas", 1),
        replicas_owned=owns_replicas(obj),
        generation=meta.get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        current=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        last_progress=parse_time(progressing.get("lastUpdateTime")),
        deadline_exceeded=progressing.get("reason") == "ProgressDeadlineExceeded",
        failure=str(failure.get("message", "")) if failure.get("status") == "True" else "",
    )


def _pod_facts(meta: Json, pod_labels: Json, status: Json) -> PodFacts:
    ready = _condition(status, "Ready")
    is_ready = ready.get("status") == "True"
    created = parse_time(meta.get("creationTimestamp"))
    if created is None:
        raise ValueError(f"pod {meta['name']} has no creationTimestamp")
    return PodFacts(
        name=meta["name"],
        uid=meta["uid"],
        created=created,
        ready=is_ready,
        ready_since=parse_time(ready.get("lastTransitionTime")) if is_ready else None,
        terminating="deletionTimestamp" in meta or status.get("phase") in ("Succeeded", "Failed"),
        draining=labels.DRAINING in pod_labels,
        drain_started=parse_time((meta.get("annotations") or {}).get(labels.DRAIN_STARTED_AT)),
        goes_first=(meta.get("annotations") or {}).get(labels.DELETION_COST) == labels.FIRST_COST,
        revision_current=True,
        sessions=None,
        admin_draining=None,
        address=status.get("podIP"),
    )


def _condition(status: Json, kind: str) -> Json:
    return next((item for item in status.get("conditions") or () if item.get("type") == kind), {})


def _problem(status: Json) -> tuple[str, datetime | None]:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return str(scheduled.get("message", "")), parse_time(scheduled.get("lastTransitionTime"))
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _WAITING_PROBLEMS:
            since = parse_time(_condition(status, "ContainersReady").get("lastTransitionTime"))
            return f"{waiting['reason']}: {waiting.get('message', '')}", since
    return "", None


def _with_revisions(pods: tuple[PodState, ...], deployment: DeploymentState) -> tuple[PodFacts, ...]:
    """Marks the pods of older templates.

    The newest pod has the current template, unless none of that template exists yet.
    """
    settled = deployment.current <= deployment.updated
    newest = max(pods, key=lambda pod: pod.facts.created, default=None)
    current = newest.template_hash if newest is not None and deployment.updated > 0 else None
    return tuple(replace(pod.facts, revision_current=settled or pod.template_hash == current) for pod in pods)
