"""Who sets the number of replicas: hand-over between engines without a jump, and autoscalers that are not ours.

spec.replicas is stale while engine Operator decides. So whenever another engine takes over, spec.replicas is first set
to the number that serves now; until then, and until our autoscaler exists, that number is what is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.spec import Engine, MediaPipelineSpec, Mode
from mediapipeline_operator.core.model import AutoscalerState, ChildRef, Snapshot, is_ours
from mediapipeline_operator.core.resources import autoscaler_kind, initial_replicas
from mediapipeline_operator.core.scaling import schedules
from mediapipeline_operator.core.scaling.model import Signals, WorkloadFacts
from mediapipeline_operator.core.scaling.situation import Situation


@dataclass(frozen=True, slots=True)
class Delegation:
    """`spec`: what scaling decides on. `hand_over`: the number to write to the pipeline's own /scale, before anything
    else. `withheld`: a kind of child that is not created yet.
    """

    spec: MediaPipelineSpec
    hand_over: int | None = None
    withheld: str | None = None


def delegation(snapshot: Snapshot, workload: WorkloadFacts | None) -> Delegation:
    """How the engine's number is to be taken in this pass."""
    spec = snapshot.pipeline.spec
    engine, kind = spec.autoscaling.engine, autoscaler_kind(spec.autoscaling.engine)
    if workload is None or first_replicas(snapshot) is not None:
        return Delegation(spec, withheld=kind)
    hands = hands_off(snapshot)
    if engine is Engine.OPERATOR:
        return Delegation(_advising(spec), withheld=kind) if hands else Delegation(spec)
    serving = _serving(snapshot, workload)
    if hands:
        return Delegation(_keeping(spec, serving), withheld=kind)
    if _is_settled(snapshot, kind):
        return Delegation(spec)
    ready = spec.replicas == serving
    hand_over = None if ready or kind in snapshot.unavailable else serving
    return Delegation(_keeping(spec, serving), hand_over, None if ready else kind)


def first_replicas(snapshot: Snapshot) -> int | None:
    """The number to write to a Deployment that nobody has scaled: the API server's default of 1 is no number that
    serves. None once it is there, also after a crash in between.
    """
    deployment = snapshot.deployment
    if deployment is None or deployment.replicas_owned:
        return None
    initial = initial_replicas(schedules.bounded(snapshot.pipeline.spec, snapshot.now))
    return initial if deployment.replicas < initial else None


def _serving(snapshot: Snapshot, workload: WorkloadFacts) -> int:
    spec, state = snapshot.pipeline.spec, snapshot.memory.state
    return Situation(spec, workload, Signals(), state, snapshot.now, tick_seconds=0.0).n


def _is_settled(snapshot: Snapshot, kind: str | None) -> bool:
    """With an autoscaler of ours: it exists. With engine None: it has decided before, or somebody set spec.replicas in
    the same change that chose it.
    """
    pipeline, state = snapshot.pipeline, snapshot.memory.state
    if kind is not None:
        child = snapshot.children.get(ChildRef(kind, pipeline.key.name))
        return child is not None and is_ours(child, pipeline) and not child.deleting
    return state.engine in (None, Engine.NONE) or pipeline.spec.replicas != state.requested


def _keeping(spec: MediaPipelineSpec, replicas: int) -> MediaPipelineSpec:
    return spec.model_copy(update={"replicas": replicas})


def _advising(spec: MediaPipelineSpec) -> MediaPipelineSpec:
    return spec.model_copy(update={"autoscaling": spec.autoscaling.model_copy(update={"mode": Mode.ADVISORY})})


def hands_off(snapshot: Snapshot) -> bool:
    """Whether somebody else writes the Deployment's replicas: two writers would undo each other for ever."""
    return any(one.target_kind == "Deployment" for one in foreign(snapshot))


def foreign(snapshot: Snapshot) -> tuple[AutoscalerState, ...]:
    """Autoscalers of others that get in the way. One on the MediaPipeline is welcome with engine None."""
    welcome = snapshot.pipeline.spec.autoscaling.engine is Engine.NONE
    return tuple(
        one
        for one in snapshot.autoscalers
        if not _is_own(one, snapshot) and not (welcome and one.target_kind == labels.KIND)
    )


def _is_own(one: AutoscalerState, snapshot: Snapshot) -> bool:
    """Our child, or the HorizontalPodAutoscaler that KEDA makes of our child."""
    if one.owner_uid == snapshot.pipeline.uid:
        return True
    return one.target_kind == labels.KIND and (one.owner_kind, one.owner_name) == (
        "ScaledObject",
        snapshot.pipeline.key.name,
    )


def conflict_text(snapshot: Snapshot) -> str:
    """What is in the way and what to do about it, "" without a conflict."""
    return "; ".join(_conflict(one, snapshot) for one in foreign(snapshot))


def _conflict(one: AutoscalerState, snapshot: Snapshot) -> str:
    name, engine = snapshot.pipeline.key.name, snapshot.pipeline.spec.autoscaling.engine.value
    way_out = f"delete it, or let it scale MediaPipeline {name} with autoscaling.engine None"
    if one.target_kind == "Deployment":
        return (
            f"HorizontalPodAutoscaler {one.name} scales Deployment {name} and would end live sessions: {way_out}; "
            "until then the operator leaves the number of replicas alone"
        )
    return f"HorizontalPodAutoscaler {one.name} scales the pipeline, whose engine is {engine}: {way_out}"
