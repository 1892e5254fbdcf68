"""How a pipeline is: the conditions that follow from its children, in words that name the way out."""

from __future__ import annotations

from collections.abc import Iterator

from mediapipeline_operator.api.reasons import ConditionType
from mediapipeline_operator.api.spec import Device, Engine, MediaPipelineSpec
from mediapipeline_operator.core.conditions import Condition
from mediapipeline_operator.core.engines import conflict_text
from mediapipeline_operator.core.model import DeploymentState, Findings, PodState, Snapshot
from mediapipeline_operator.core.observed import rollout_in_progress
from mediapipeline_operator.core.resources.autoscalers import HPA_KIND, KEDA_KIND, autoscaler_kind
from mediapipeline_operator.core.rollouts import BY_OPERATOR, BY_SPEC, template_rolls_out

_PATIENCE_SECONDS = 60.0  # a pod may be unschedulable for this long, while nodes come up, before anybody is told
_QUEUED = (
    "the operator has a newer template for these pods and rolls out a few pipelines at a time "
    "(--max-concurrent-rollouts); until then they run as they are"
)
SERVICE_MONITOR = "ServiceMonitor"


def conditions(snapshot: Snapshot, findings: Findings) -> tuple[Condition, ...]:
    """All conditions that do not come from scaling."""
    available = _available(snapshot)
    stalled = _stalled(findings)
    ready = _ready(snapshot, findings, stalled, available)
    progressing = _progressing(snapshot, findings, ready)
    reconciling = Condition(ConditionType.RECONCILING, progressing.status, progressing.reason, progressing.message)
    return (
        ready,
        available,
        progressing,
        *((reconciling,) if stalled is None else (stalled,)),
        _degraded(snapshot, findings),
        _monitoring(snapshot),
        _conflict(snapshot),
        _paused(snapshot.pipeline.spec),
    )


def needed_replicas(spec: MediaPipelineSpec, deployment: DeploymentState) -> int:
    """Ready replicas that make the pipeline available: the configured minimum, or what little was asked for."""
    least = spec.replicas if spec.autoscaling.engine is Engine.NONE else spec.autoscaling.min_replicas
    return min(least, deployment.replicas)


def _stalled(findings: Findings) -> Condition | None:
    if findings.invalid:
        return Condition(ConditionType.STALLED, True, "InvalidPipeline", findings.invalid)
    if findings.refused:
        return Condition(ConditionType.STALLED, True, "ChildRefused", "; ".join(findings.refused.values()))
    return None


def _ready(snapshot: Snapshot, findings: Findings, stalled: Condition | None, available: Condition) -> Condition:
    if stalled is not None:
        return Condition(ConditionType.READY, False, stalled.reason, stalled.message)
    if findings.failed:
        return Condition(ConditionType.READY, False, "ApplyFailed", _failures(findings))
    if findings.waiting:
        return Condition(ConditionType.READY, False, "ChildrenPending", _pending(findings))
    if findings.held:
        held = ", ".join(map(str, findings.held))
        return Condition(ConditionType.READY, False, "Paused", f"spec.paused keeps these from being written: {held}")
    if not available.status:
        return Condition(ConditionType.READY, False, available.reason, available.message)
    if _rolling_out(snapshot):
        return Condition(ConditionType.READY, False, "RollingOut", _rollout_message(snapshot))
    return Condition(ConditionType.READY, True, "Ready", "all children are current and enough replicas are ready")


def _available(snapshot: Snapshot) -> Condition:
    deployment = snapshot.deployment
    if deployment is None:
        return Condition(ConditionType.AVAILABLE, False, "NoDeployment", "the Deployment does not exist yet")
    needed = needed_replicas(snapshot.pipeline.spec, deployment)
    message = f"{deployment.ready} of {deployment.replicas} replicas are ready, {needed} are needed"
    if deployment.ready >= needed:
        return Condition(ConditionType.AVAILABLE, True, "ReplicasReady", message)
    return Condition(ConditionType.AVAILABLE, False, "ReplicasUnavailable", message)


def _progressing(snapshot: Snapshot, findings: Findings, ready: Condition) -> Condition:
    if snapshot.pipeline.spec.paused:
        return Condition(ConditionType.PROGRESSING, False, "Paused", "spec.paused is true")
    if findings.waiting:
        return Condition(ConditionType.PROGRESSING, True, "ChildrenPending", _pending(findings))
    if findings.invalid or findings.refused or findings.failed:
        return Condition(ConditionType.PROGRESSING, False, ready.reason, ready.message)
    if _rolling_out(snapshot):
        reason = BY_OPERATOR if template_rolls_out(snapshot) else BY_SPEC
        return Condition(ConditionType.PROGRESSING, True, reason, _rollout_message(snapshot))
    if not ready.status:
        return Condition(ConditionType.PROGRESSING, True, ready.reason, ready.message)
    if findings.queued:
        return Condition(ConditionType.PROGRESSING, True, "RolloutQueued", _QUEUED)
    return Condition(ConditionType.PROGRESSING, False, "Settled", "nothing is under way")


def _rolling_out(snapshot: Snapshot) -> bool:
    deployment = snapshot.deployment
    return deployment is not None and rollout_in_progress(deployment, snapshot.memory.applied_generation)


def _rollout_message(snapshot: Snapshot) -> str:
    deployment = snapshot.deployment
    if deployment is None:
        return ""
    return f"{deployment.updated} of {deployment.current} pods have the current template"


def _degraded(snapshot: Snapshot, findings: Findings) -> Condition:
    reason, message = next(_degradations(snapshot, findings), ("", ""))
    if reason:
        return Condition(ConditionType.DEGRADED, True, reason, message)
    return Condition(ConditionType.DEGRADED, False, "AsExpected", "")


def _degradations(snapshot: Snapshot, findings: Findings) -> Iterator[tuple[str, str]]:
    """Worst first."""
    if findings.refused:
        yield "ChildRefused", "; ".join(findings.refused.values())
    if findings.failed:
        yield "ApplyFailed", _failures(findings)
    needed_kinds = sorted(kind for kind in snapshot.unavailable if kind not in _optional_kinds(snapshot))
    if needed_kinds:
        why = "; ".join(f"{kind}: {snapshot.unavailable[kind]}" for kind in needed_kinds)
        way_out = "install KEDA, or choose another engine" if KEDA_KIND in needed_kinds else "check its RBAC rules"
        yield "KindUnavailable", f"the operator cannot read {why}; {way_out}"
    for pod in snapshot.pods:
        if pod.problem and _long_enough(snapshot, pod):
            yield _pod_problem(snapshot.pipeline.spec, pod)
    deployment = snapshot.deployment
    if deployment is not None and deployment.failure:
        yield "ReplicaFailure", deployment.failure
    if deployment is not None and deployment.deadline_exceeded:
        yield "ProgressDeadlineExceeded", "the rollout has made no progress for 10 minutes; look at the newest pod"


def _optional_kinds(snapshot: Snapshot) -> frozenset[str]:
    """Kinds without which this pipeline is none the worse."""
    needed = autoscaler_kind(snapshot.pipeline.spec.autoscaling.engine)
    return frozenset({SERVICE_MONITOR, HPA_KIND, KEDA_KIND}) - {needed}


def _conflict(snapshot: Snapshot) -> Condition:
    text = conflict_text(snapshot)
    kind = ConditionType.CONFLICTING_AUTOSCALER
    return Condition(kind, True, "ConflictingAutoscaler", text) if text else Condition(kind, False, "NoConflict", "")


def _long_enough(snapshot: Snapshot, pod: PodState) -> bool:
    since = pod.problem_since or pod.facts.created
    return not pod.facts.terminating and (snapshot.now - since).total_seconds() >= _PATIENCE_SECONDS


def _pod_problem(spec: MediaPipelineSpec, pod: PodState) -> tuple[str, str]:
    gpu = spec.compute.gpu.resource_name if spec.compute.gpu is not None else "nvidia.com/gpu"
    if spec.compute.device is Device.GPU and f"Insufficient {gpu}" in pod.problem:
        return "Unschedulable", f"no node offers {gpu}; set compute.device: CPU, or add a node ({pod.problem})"
    reason = "Unschedulable" if pod.facts.address is None else "PodNotStarting"
    return reason, f"pod {pod.facts.name}: {pod.problem}"


def _monitoring(snapshot: Snapshot) -> Condition:
    kind = ConditionType.MONITORING_AVAILABLE
    if not snapshot.pipeline.spec.monitoring.service_monitor.enabled:
        return Condition(
            kind, True, "Disabled", "no ServiceMonitor is wanted; another scrape configuration is expected"
        )
    why = snapshot.unavailable.get(SERVICE_MONITOR)
    if why is None:
        return Condition(kind, True, "ServiceMonitorAvailable", "")
    forbidden = why.startswith("403")
    way_out = "allow the operator to manage it" if forbidden else "install the prometheus-operator's CRDs"
    message = f"ServiceMonitor cannot be used: {why}; {way_out}, or set monitoring.serviceMonitor.enabled: false"
    return Condition(kind, False, "Forbidden" if forbidden else "KindMissing", message)


def _paused(spec: MediaPipelineSpec) -> Condition:
    if spec.paused:
        return Condition(ConditionType.PAUSED, True, "Paused", "spec.paused is true: children are not written")
    return Condition(ConditionType.PAUSED, False, "NotPaused", "")


def _pending(findings: Findings) -> str:
    return "being deleted, and made again after that: " + ", ".join(str(ref) for ref in findings.waiting)


def _failures(findings: Findings) -> str:
    return "; ".join(f"{ref}: {message}" for ref, message in findings.failed.items())
