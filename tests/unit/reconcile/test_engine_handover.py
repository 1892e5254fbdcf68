"""Engines, purely: what is handed over, what is withheld, what is carried out, and who is in the way."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mediapipeline_operator.api.spec import Engine
from mediapipeline_operator.core.engines import conflict_text
from mediapipeline_operator.core.model import (
    AutoscalerState,
    ChildRef,
    DeploymentState,
    Memory,
    Plan,
    PodState,
    Snapshot,
)
from mediapipeline_operator.core.plan import plan
from mediapipeline_operator.core.resources import BuildSettings
from mediapipeline_operator.core.scaling import PodFacts, SetReplicas
from mediapipeline_operator.core.scaling.model import ProblemKind, Signals
from mediapipeline_operator.core.scaling.state import ScalingState
from mediapipeline_operator.core.status import announcements, status

Build = Callable[..., Snapshot]
SETTINGS = BuildSettings(mediapod_image="example.org/mediapod:1")
DEPLOYMENT = ChildRef("Deployment", "studio")
HPA = ChildRef("HorizontalPodAutoscaler", "studio")
MISSING = Signals.missing(ProblemKind.DOWN, "down")
FOUR = 4


@pytest.fixture
def running(snapshot_of: Build) -> Callable[..., Snapshot]:
    """`running(engine, replicas, before=..., with_child=True)`: four ready replicas, spec.replicas as given."""

    def build(engine: str, replicas: int, *, before: ScalingState | None = None, with_child: bool = True) -> Snapshot:
        made = snapshot_of({"replicas": replicas, "autoscaling": {"engine": engine}})
        children = dict(made.children)
        deployment = children[DEPLOYMENT].deployment
        assert isinstance(deployment, DeploymentState)
        counts = dict.fromkeys(("replicas", "current", "ready", "updated", "available"), FOUR)
        children[DEPLOYMENT] = replace(children[DEPLOYMENT], deployment=replace(deployment, **counts))
        if not with_child:
            children.pop(HPA, None)
        memory = Memory(state=before or ScalingState())
        return replace(made, children=children, memory=memory, signals=MISSING, pods=_pods(made))

    return build


def _pods(snapshot: Snapshot) -> tuple[PodState, ...]:
    created = snapshot.now - timedelta(hours=1)
    return tuple(
        PodState(
            namespace="media",
            pipeline="studio",
            resource_version="1",
            template_hash="a",
            facts=PodFacts(f"pod-{index}", f"uid-{index}", created, ready=True, ready_since=created, sessions=0),
        )
        for index in range(FOUR)
    )


def _plan(snapshot: Snapshot) -> Plan:
    return plan(snapshot, SETTINGS, tick_seconds=10)


def _kinds(wanted: Plan) -> list[str]:
    return [apply.ref.kind for apply in wanted.applies]


def foreign(kind: str, **changes: Any) -> AutoscalerState:
    known = {"owner_kind": "", "owner_name": "", "owner_uid": "", **changes}
    return AutoscalerState("media", "other", "1", "studio", kind, **known)


def test_the_number_is_handed_over_before_the_autoscaler_is_created(running: Build) -> None:
    first = _plan(running("HorizontalPodAutoscaler", 2, with_child=False))
    assert (first.hand_over, _kinds(first), first.actions) == (FOUR, [], ())
    assert first.requeue_after_seconds is not None
    second = _plan(running("HorizontalPodAutoscaler", FOUR, with_child=False))
    assert (second.hand_over, _kinds(second), second.actions) == (None, ["HorizontalPodAutoscaler"], ())


@pytest.mark.parametrize("engine", ["HorizontalPodAutoscaler", "KEDA"])
def test_the_default_of_a_new_deployment_is_no_number_to_hand_over(running: Build, engine: str) -> None:
    """A pass that was cut short between the Deployment and its first number has left the API server's 1."""
    made = running(engine, 2, with_child=False)
    children = {ref: child for ref, child in made.children.items() if ref.kind not in (HPA.kind, "ScaledObject")}
    deployment = children[DEPLOYMENT].deployment
    assert isinstance(deployment, DeploymentState)
    fresh = replace(deployment, replicas=1, current=0, ready=0, replicas_owned=False)
    children[DEPLOYMENT] = replace(children[DEPLOYMENT], deployment=fresh)
    wanted = _plan(replace(made, children=children, pods=()))
    assert (wanted.hand_over, _kinds(wanted), wanted.initial_replicas) == (None, [], 2)


def test_the_autoscalers_number_is_carried_out(running: Build) -> None:
    wanted = _plan(running("HorizontalPodAutoscaler", 6))
    assert wanted.actions[0] == SetReplicas(to=6, expect=FOUR)


def test_a_lost_autoscaler_is_made_again_at_the_present_number(running: Build) -> None:
    before = ScalingState(engine=Engine.HPA, requested=2)
    assert _plan(running("HorizontalPodAutoscaler", 2, before=before, with_child=False)).hand_over == FOUR


def test_without_the_kind_the_number_is_held_and_nothing_is_written(running: Build) -> None:
    held = replace(running("KEDA", 2), unavailable={"ScaledObject": "the cluster has no such kind"})
    held = replace(held, children={ref: one for ref, one in held.children.items() if ref.kind != "ScaledObject"})
    wanted = _plan(held)
    assert (wanted.hand_over, wanted.applies, wanted.actions) == (None, (), ())


@pytest.mark.parametrize(
    ("before", "replicas", "hand_over"),
    [
        (ScalingState(engine=Engine.OPERATOR, requested=2), 2, FOUR),  # stale
        (ScalingState(engine=Engine.HPA, requested=2), 2, FOUR),
        (ScalingState(engine=Engine.OPERATOR, requested=2), 6, None),  # set together with the engine
        (ScalingState(engine=Engine.NONE, requested=2), 3, None),  # a person's wish
        (ScalingState(), 3, None),
    ],
)
def test_engine_none_takes_over_without_a_jump(
    running: Build, before: ScalingState, replicas: int, hand_over: int | None
) -> None:
    wanted = _plan(running("None", replicas, before=before))
    assert wanted.hand_over == hand_over
    assert (wanted.actions == ()) is (hand_over is not None)
    assert wanted.outcome is not None
    assert wanted.outcome.state.engine is Engine.NONE


def test_a_pause_forgets_nothing_of_the_engine_before(running: Build) -> None:
    """The engine is changed while paused: the hand-over comes when the pause ends."""
    paused = running("None", 2, before=ScalingState(engine=Engine.OPERATOR, requested=2))
    paused = replace(
        paused,
        pipeline=replace(paused.pipeline, spec=paused.pipeline.spec.model_copy(update={"paused": True})),
    )
    wanted = _plan(paused)
    assert wanted.hand_over is None
    assert wanted.outcome is not None
    assert wanted.outcome.state.engine is Engine.OPERATOR


@pytest.mark.parametrize("engine", ["Operator", "None", "HorizontalPodAutoscaler"])
def test_hands_off_a_deployment_that_somebody_else_scales(running: Build, engine: str) -> None:
    taken = replace(running(engine, 6), autoscalers=(foreign("Deployment"),))
    wanted = _plan(taken)
    assert (wanted.hand_over, wanted.actions) == (None, ())
    body = status(taken, wanted.findings, wanted.outcome, SETTINGS)
    found = {one["type"]: one for one in body["conditions"]}
    assert found["ConflictingAutoscaler"]["status"] == "True"
    assert "HorizontalPodAutoscaler other scales Deployment studio" in found["ConflictingAutoscaler"]["message"]
    assert (found["ScalingActive"]["status"], found["ScalingActive"]["reason"]) == ("False", "ConflictingAutoscaler")
    assert [one.reason for one in announcements({}, body)] == ["ConflictingAutoscaler"]
    assert not list(announcements(body, body))


@pytest.mark.parametrize(
    ("engine", "one", "conflicts"),
    [
        ("None", foreign("MediaPipeline"), False),
        ("Operator", foreign("MediaPipeline"), True),
        ("HorizontalPodAutoscaler", foreign("MediaPipeline"), True),
        ("HorizontalPodAutoscaler", foreign("MediaPipeline", owner_kind="MediaPipeline", owner_uid="p-1"), False),
        ("KEDA", foreign("MediaPipeline", owner_kind="ScaledObject", owner_name="studio"), False),
        ("KEDA", foreign("MediaPipeline", owner_kind="ScaledObject", owner_name="else"), True),
        ("KEDA", foreign("Deployment", owner_kind="ScaledObject", owner_name="studio"), True),
    ],
)
def test_who_is_in_the_way(running: Build, engine: str, one: AutoscalerState, conflicts: bool) -> None:
    assert bool(conflict_text(replace(running(engine, FOUR), autoscalers=(one,)))) is conflicts


def test_a_schedule_reaches_the_autoscalers_bounds_and_the_first_number(snapshot_of: Build) -> None:
    day = {"name": "day", "cron": "0 3 * * *", "durationSeconds": 3600, "minReplicas": 5, "maxReplicas": 8}
    made = snapshot_of({"autoscaling": {"engine": "HorizontalPodAutoscaler", "schedules": [day]}}, children={})
    assert _plan(made).initial_replicas == 5
    later = snapshot_of({"autoscaling": {"engine": "HorizontalPodAutoscaler", "schedules": [day]}})
    (changed,) = _plan(later).applies
    assert (changed.manifest["spec"]["minReplicas"], changed.manifest["spec"]["maxReplicas"]) == (5, 8)


def test_an_invalid_query_or_schedule_is_said_and_children_are_left_alone(snapshot_of: Build) -> None:
    scaling = {
        "latency": {"source": "Query", "query": "max(foreign_p95)"},
        "schedules": [{"name": "day", "cron": "99 3 * * *", "durationSeconds": 3600, "minReplicas": 5}],
    }
    wanted = _plan(snapshot_of({"autoscaling": scaling}, children={}))
    assert wanted.applies == ()
    assert 'spec.autoscaling.latency.query: must match on its namespace in every selector: add namespace="media"' in (
        wanted.findings.invalid
    )
    assert 'spec.autoscaling.schedules[0]: cron "99 3 * * *" does not parse' in wanted.findings.invalid


@pytest.mark.parametrize(
    ("engine", "initial"), [("Operator", 2), ("HorizontalPodAutoscaler", 6), ("KEDA", 6), ("None", 20)]
)
def test_a_restored_pipeline_begins_where_its_autoscaler_had_it(snapshot_of: Build, engine: str, initial: int) -> None:
    bounds = {"engine": engine, "minReplicas": 2, "maxReplicas": 6}
    assert _plan(snapshot_of({"replicas": 20, "autoscaling": bounds}, children={})).initial_replicas == initial
