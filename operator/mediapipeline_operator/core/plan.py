"""Snapshot -> Plan: which children to write, which to remove, what scaling does.

Pure: the same snapshot gives the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mediapipeline_operator.api.reasons import EventReason
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.drift import manifest_digest
from mediapipeline_operator.core.engines import Delegation, delegation, first_replicas
from mediapipeline_operator.core.model import (
    Apply,
    ChildRef,
    ChildState,
    Delete,
    EventNote,
    Expected,
    Findings,
    Manifest,
    Plan,
    Snapshot,
    is_ours,
    is_predecessors,
)
from mediapipeline_operator.core.observed import workload_facts
from mediapipeline_operator.core.resources import BuildSettings, desired, initial_replicas
from mediapipeline_operator.core.resources.autoscalers import HPA_KIND, KEDA_KIND
from mediapipeline_operator.core.rollouts import waits_for_slot
from mediapipeline_operator.core.scaling import schedules
from mediapipeline_operator.core.scaling.decide import decide
from mediapipeline_operator.core.scaling.model import Action, MarkDraining, SetReplicas, WorkloadFacts
from mediapipeline_operator.core.scaling.outcome import Outcome
from mediapipeline_operator.core.validation import invalid_fields

_MOVING = frozenset({"PodDisruptionBudget", HPA_KIND, KEDA_KIND})
_LATER_SECONDS = 2.0  # for something that another controller is about to finish
_REFUSED_SECONDS = 30.0  # for something that a person has to change


def plan(snapshot: Snapshot, settings: BuildSettings, *, tick_seconds: float) -> Plan:
    """What this pass does. A pipeline that is being deleted is left to the garbage collector."""
    pipeline = snapshot.pipeline
    if pipeline.deleting:
        return Plan()
    workload = _workload(snapshot)
    engine = delegation(snapshot, workload)
    outcome = _scaling(snapshot, engine.spec, workload, tick_seconds)
    known = snapshot.memory.expected  # only a valid spec has any
    errors = invalid_fields(pipeline, snapshot.now, valid_generation=known.generation if known is not None else None)
    if errors:
        message = "; ".join(f"{error.field}: {error.message}" for error in errors)
        return _scale_only(Findings(invalid=message), outcome, engine.hand_over)
    if pipeline.spec.paused:
        return _scale_only(Findings(held=tuple(_held(snapshot, settings))), outcome)
    return _full(snapshot, settings, outcome, engine)


def _scale_only(findings: Findings, outcome: Outcome | None, hand_over: int | None = None) -> Plan:
    """Children stay as they are; capacity is still looked after, by the last valid template."""
    actions = outcome.actions if outcome is not None else ()
    events = _scaling_events(outcome)
    return Plan(findings=findings, hand_over=hand_over, outcome=outcome, actions=actions, scaling_events=events)


def _full(snapshot: Snapshot, settings: BuildSettings, outcome: Outcome | None, engine: Delegation) -> Plan:
    wanted = expected(snapshot, settings)
    findings = _findings(snapshot, wanted.digests)
    due = tuple(ref for ref in _due(snapshot, wanted.digests, findings) if ref.kind != engine.withheld)
    applies = _applies(snapshot, settings, wanted, due) if due else ()
    initial = _initial_replicas(snapshot, applies)
    actions = outcome.actions if outcome is not None and initial is None else ()
    surplus = tuple(_deletes(snapshot, wanted.digests))
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
        expected=wanted,
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


def expected(snapshot: Snapshot, settings: BuildSettings) -> Expected:
    """The children's digests, from memory unless the spec, the draining replicas or the schedules' bounds changed.

    `settings` never change within a process, and memory does not outlive it.
    """
    generation, known = snapshot.pipeline.generation, snapshot.memory.expected
    draining, bounds = _draining(snapshot), schedules.bounds(snapshot.pipeline.spec, snapshot.now)
    if known is not None and (known.generation, known.draining, known.bounds) == (generation, draining, bounds):
        return known
    manifests = _manifests(snapshot, settings, draining, bounds)
    digests = {ref: manifest_digest(manifest) for ref, manifest in manifests.items()}
    return Expected(generation, draining, bounds, digests)


def _draining(snapshot: Snapshot) -> int:
    return sum(pod.facts.draining and not pod.facts.terminating for pod in snapshot.pods)


def _manifests(
    snapshot: Snapshot, settings: BuildSettings, draining: int, bounds: tuple[int, int]
) -> dict[ChildRef, Manifest]:
    """In the order in which they are applied."""
    manifests = desired(snapshot.pipeline, settings, draining=draining, bounds=bounds)
    return {ChildRef(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}


def _findings(snapshot: Snapshot, digests: Mapping[ChildRef, str]) -> Findings:
    refused: dict[ChildRef, str] = {}
    waiting: list[ChildRef] = []
    queued = False
    for ref, digest in digests.items():
        child = snapshot.children.get(ref)
        if child is None:
            continue
        if is_ours(child, snapshot.pipeline) and not child.deleting:
            queued |= _drifted(snapshot, ref, digest, child) and waits_for_slot(snapshot, ref, digest)
        elif child.deleting or is_predecessors(child, snapshot.pipeline):
            waiting.append(ref)
        else:
            refused[ref] = _refusal(ref, child)
    return Findings(refused=refused, waiting=tuple(waiting), queued=queued)


def _held(snapshot: Snapshot, settings: BuildSettings) -> Iterator[ChildRef]:
    """Children that a pause keeps from being written. Not those that move with drains and schedules: a pause stops
    these on purpose.
    """
    for ref, digest in expected(snapshot, settings).digests.items():
        child = snapshot.children.get(ref)
        if ref.kind in _MOVING or ref.kind in snapshot.unavailable:
            continue
        if child is None or (is_ours(child, snapshot.pipeline) and child.digest != digest):
            yield ref


def _refusal(ref: ChildRef, child: ChildState) -> str:
    owner = f"it belongs to MediaPipeline {child.owner.name}" if child.owner else "this pipeline does not own it"
    return f"{ref} exists already and {owner}; rename the pipeline, or delete that object"


def _due(snapshot: Snapshot, digests: Mapping[ChildRef, str], findings: Findings) -> Iterator[ChildRef]:
    """Children that are missing or have drifted, and may be written now."""
    for ref, digest in digests.items():
        blocked = ref in findings.refused or ref in findings.waiting
        if blocked or ref.kind in snapshot.unavailable:
            continue
        child = snapshot.children.get(ref)
        drifted = child is None or _drifted(snapshot, ref, digest, child)
        if drifted and (child is None or not waits_for_slot(snapshot, ref, digest)):
            yield ref


def _applies(
    snapshot: Snapshot, settings: BuildSettings, wanted: Expected, due: Iterable[ChildRef]
) -> tuple[Apply, ...]:
    manifests = _manifests(snapshot, settings, wanted.draining, wanted.bounds)
    return tuple(
        Apply(ref, manifests[ref], wanted.digests[ref], child.resource_version if child is not None else None)
        for ref in due
        for child in (snapshot.children.get(ref),)
    )


def _drifted(snapshot: Snapshot, ref: ChildRef, digest: str, child: ChildState) -> bool:
    """What an apply has already failed to change is not tried again until either side changes."""
    return child.digest != digest and snapshot.memory.unrepairable.get(ref) != (digest, child.digest)


def _initial_replicas(snapshot: Snapshot, applies: Sequence[Apply]) -> int | None:
    """The first number, written once: nobody owns spec.replicas until then."""
    if snapshot.deployment is not None:
        return first_replicas(snapshot)
    creates = any(apply.ref.kind == "Deployment" for apply in applies)
    return initial_replicas(schedules.bounded(snapshot.pipeline.spec, snapshot.now)) if creates else None


def _deletes(snapshot: Snapshot, digests: Mapping[ChildRef, str]) -> Iterator[Delete]:
    for ref, child in sorted(snapshot.children.items()):
        if ref not in digests and is_ours(child, snapshot.pipeline) and not child.deleting:
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
