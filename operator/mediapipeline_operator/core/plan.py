"""Snapshot -> Plan: which children to write, which to remove, what scaling does.

Pure: the same snapshot gives the same plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mediapipeline_operator.api.reasons import EventReason
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.drift import manifest_digest
from mediapipeline_operator.core.engines import Delegation, delegation
from mediapipeline_operator.core.model import (
    Apply,
    ChildRef,
    ChildState,
    Delete,
    EventNote,
    Findings,
    Manifest,
    Plan,
    Snapshot,
    is_ours,
    is_predecessors,
)
from mediapipeline_operator.core.observed import workload_facts
from mediapipeline_operator.core.resources import BuildSettings, desired, initial_replicas
from mediapipeline_operator.core.scaling import schedules
from mediapipeline_operator.core.scaling.decide import decide
from mediapipeline_operator.core.scaling.model import Action, MarkDraining, SetReplicas, WorkloadFacts
from mediapipeline_operator.core.scaling.outcome import Outcome
from mediapipeline_operator.core.validation import invalid_fields

_LATER_SECONDS = 2.0  # for something that another controller is about to finish
_REFUSED_SECONDS = 30.0  # for something that a person has to change


@dataclass(frozen=True, slots=True)
class _Wanted:
    ref: ChildRef
    manifest: Manifest
    digest: str


def plan(snapshot: Snapshot, settings: BuildSettings, *, tick_seconds: float) -> Plan:
    """What this pass does. A pipeline that is being deleted is left to the garbage collector."""
    pipeline = snapshot.pipeline
    if pipeline.deleting:
        return Plan()
    workload = _workload(snapshot)
    engine = delegation(snapshot, workload)
    outcome = _scaling(snapshot, engine.spec, workload, tick_seconds)
    errors = invalid_fields(pipeline, snapshot.now)
    if errors:
        message = "; ".join(f"{error.field}: {error.message}" for error in errors)
        return _scale_only(Findings(invalid=message), outcome, engine.hand_over)
    if pipeline.spec.paused:
        return _scale_only(Findings(), outcome)
    return _full(snapshot, settings, outcome, engine)


def _scale_only(findings: Findings, outcome: Outcome | None, hand_over: int | None = None) -> Plan:
    """Children stay as they are; capacity is still looked after, by the last valid template."""
    actions = outcome.actions if outcome is not None else ()
    events = _scaling_events(outcome)
    return Plan(findings=findings, hand_over=hand_over, outcome=outcome, actions=actions, scaling_events=events)


def _full(snapshot: Snapshot, settings: BuildSettings, outcome: Outcome | None, engine: Delegation) -> Plan:
    wanted = _wanted(snapshot, settings)
    findings = _findings(snapshot, wanted)
    applies = tuple(one for one in _applies(snapshot, wanted, findings) if one.ref.kind != engine.withheld)
    initial = _initial_replicas(snapshot, applies)
    actions = outcome.actions if outcome is not None and initial is None else ()
    surplus = tuple(_deletes(snapshot, wanted))
    deletes = () if _removes_capacity(actions) else surplus[:1]
    return Plan(
        findings=findings,
        hand_over=engine.hand_over,
        applies=applies,
        initial_replicas=initial,
        deletes=deletes,
        actions=actions,
        scaling_events=_scaling_events(outcome) if initial is None else (),
        repairs=dict(_repairs(snapshot, applies)),
        outcome=outcome if initial is None else None,
        converged={want.ref: want.digest for want in wanted},
        requeue_after_seconds=_requeue_after(
            findings, more=len(surplus) > len(deletes) or engine.hand_over is not None
        ),
    )


def _workload(snapshot: Snapshot) -> WorkloadFacts | None:
    """None until there is a Deployment."""
    deployment = snapshot.deployment
    if deployment is None:
        return None
    return workload_facts(deployment, snapshot.pods, applied_generation=snapshot.memory.applied_generation)


def _scaling(
    snapshot: Snapshot, spec: MediaPipelineSpec, workload: WorkloadFacts | None, tick_seconds: float
) -> Outcome | None:
    """None until there is a Deployment whose number was set once, and something has been measured."""
    if workload is None or snapshot.signals is None:
        return None
    return decide(spec, workload, snapshot.signals, snapshot.memory.state, snapshot.now, tick_seconds=tick_seconds)


def _wanted(snapshot: Snapshot, settings: BuildSettings) -> tuple[_Wanted, ...]:
    draining = sum(pod.facts.draining and not pod.facts.terminating for pod in snapshot.pods)
    bounds = schedules.bounds(snapshot.pipeline.spec, snapshot.now)
    manifests = desired(snapshot.pipeline, settings, draining=draining, bounds=bounds)
    return tuple(
        _Wanted(ChildRef(manifest["kind"], manifest["metadata"]["name"]), manifest, manifest_digest(manifest))
        for manifest in manifests
    )


def _findings(snapshot: Snapshot, wanted: Sequence[_Wanted]) -> Findings:
    refused: dict[ChildRef, str] = {}
    waiting: list[ChildRef] = []
    for want in wanted:
        child = snapshot.children.get(want.ref)
        if child is None or (is_ours(child, snapshot.pipeline) and not child.deleting):
            continue
        if child.deleting or is_predecessors(child, snapshot.pipeline):
            waiting.append(want.ref)
        else:
            refused[want.ref] = _refusal(want.ref, child)
    return Findings(refused=refused, waiting=tuple(waiting))


def _refusal(ref: ChildRef, child: ChildState) -> str:
    owner = f"it belongs to MediaPipeline {child.owner.name}" if child.owner else "this pipeline does not own it"
    return f"{ref} exists already and {owner}; rename the pipeline, or delete that object"


def _applies(snapshot: Snapshot, wanted: Sequence[_Wanted], findings: Findings) -> Iterator[Apply]:
    for want in wanted:
        blocked = want.ref in findings.refused or want.ref in findings.waiting
        if blocked or want.ref.kind in snapshot.unavailable:
            continue
        child = snapshot.children.get(want.ref)
        if child is None:
            yield Apply(want.ref, want.manifest, want.digest, None)
        elif _drifted(snapshot, want, child):
            yield Apply(want.ref, want.manifest, want.digest, child.resource_version)


def _drifted(snapshot: Snapshot, want: _Wanted, child: ChildState) -> bool:
    """What an apply has already failed to change is not tried again until either side changes."""
    tried = snapshot.memory.unrepairable.get(want.ref)
    return child.digest != want.digest and tried != (want.digest, child.digest)


def _initial_replicas(snapshot: Snapshot, applies: Sequence[Apply]) -> int | None:
    """The first number, written once: nobody owns spec.replicas until then, also after a crash in between."""
    spec, deployment = snapshot.pipeline.spec, snapshot.deployment
    initial = initial_replicas(schedules.bounded(spec, snapshot.now))
    if deployment is None:
        creates = any(apply.ref.kind == "Deployment" for apply in applies)
        return initial if creates else None
    return initial if not deployment.replicas_owned and deployment.replicas < initial else None


def _deletes(snapshot: Snapshot, wanted: Sequence[_Wanted]) -> Iterator[Delete]:
    refs = {want.ref for want in wanted}
    for ref, child in sorted(snapshot.children.items()):
        if ref not in refs and is_ours(child, snapshot.pipeline) and not child.deleting:
            yield Delete(ref, child.uid, child.resource_version)


def _removes_capacity(actions: Sequence[Action]) -> bool:
    return any(
        isinstance(action, MarkDraining) or (isinstance(action, SetReplicas) and action.to < action.expect)
        for action in actions
    )


def _scaling_events(outcome: Outcome | None) -> tuple[EventNote, ...]:
    inputs = outcome.events if outcome is not None else ()
    return tuple(EventNote(item.reason, "Warning" if item.warning else "Normal", item.message) for item in inputs)


def _repairs(snapshot: Snapshot, applies: Sequence[Apply]) -> Iterator[tuple[ChildRef, EventNote]]:
    """Only what has been right before is repaired; the rest is new or was asked for."""
    converged: Mapping[ChildRef, str] = snapshot.memory.converged
    for apply in applies:
        if converged.get(apply.ref) == apply.digest:
            what = "was missing" if apply.resource_version is None else "had been changed"
            yield apply.ref, EventNote(EventReason.CHILD_REPAIRED, "Normal", f"{apply.ref} {what} and was restored")


def _requeue_after(findings: Findings, *, more: bool) -> float | None:
    if more or findings.waiting:
        return _LATER_SECONDS
    return _REFUSED_SECONDS if findings.refused else None
