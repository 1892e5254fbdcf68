"""Plans: what a pass writes, given what it sees."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mediapipeline_operator.core.model import ChildRef, Memory, Owner, Plan, Snapshot
from mediapipeline_operator.core.plan import plan
from mediapipeline_operator.core.resources import BuildSettings
from mediapipeline_operator.core.scaling.model import ProblemKind, Signals
from mediapipeline_operator.core.scaling.state import ScalingState

Build = Callable[..., Snapshot]
SETTINGS = BuildSettings(mediapod_image="example.org/mediapod:1")
DEPLOYMENT = ChildRef("Deployment", "studio")
SERVICE = ChildRef("Service", "studio")
MISSING = Signals.missing(ProblemKind.DOWN, "down")


def _plan(snapshot: Snapshot) -> Plan:
    return plan(snapshot, SETTINGS, tick_seconds=10)


def _with_child(snapshot: Snapshot, ref: ChildRef, **changes: Any) -> Snapshot:
    child = replace(snapshot.children[ref], **changes)
    return replace(snapshot, children={**snapshot.children, ref: child})


def _without(snapshot: Snapshot, *refs: ChildRef) -> Snapshot:
    return replace(snapshot, children={ref: child for ref, child in snapshot.children.items() if ref not in refs})


def test_nothing_is_planned_when_everything_is_right(snapshot_of: Build) -> None:
    wanted = _plan(snapshot_of())
    assert (wanted.applies, wanted.deletes, wanted.actions, wanted.initial_replicas) == ((), (), (), None)


def test_a_new_pipeline_gets_everything_pods_after_what_they_need(snapshot_of: Build) -> None:
    wanted = _plan(snapshot_of(children={}))
    kinds = [apply.ref.kind for apply in wanted.applies]
    assert kinds.index("ServiceAccount") < kinds.index("Deployment")
    assert all(apply.resource_version is None for apply in wanted.applies)
    assert wanted.initial_replicas == 2
    assert not wanted.repairs


def test_an_apply_carries_the_version_that_it_was_planned_from(snapshot_of: Build) -> None:
    wanted = _plan(_with_child(snapshot_of(), SERVICE, digest="other", resource_version="42"))
    assert [(apply.ref, apply.resource_version) for apply in wanted.applies] == [(SERVICE, "42")]


def test_only_what_was_right_before_is_called_a_repair(snapshot_of: Build) -> None:
    changed = _with_child(snapshot_of(), SERVICE, digest="other")
    assert not _plan(changed).repairs
    expected = _plan(snapshot_of()).expected
    assert expected is not None
    known = replace(changed, memory=Memory(state=ScalingState(), converged=expected.digests))
    assert "had been changed" in _plan(known).repairs[SERVICE].message
    assert "was missing" in _plan(_without(known, SERVICE)).repairs[SERVICE].message


def test_what_an_apply_cannot_change_is_not_tried_for_ever(snapshot_of: Build) -> None:
    changed = _with_child(snapshot_of(), SERVICE, digest="other")
    digest = _plan(changed).applies[0].digest
    tried = Memory(state=ScalingState(), unrepairable={SERVICE: (digest, "other")})
    assert not _plan(replace(changed, memory=tried)).applies
    moved_on = _with_child(replace(changed, memory=tried), SERVICE, digest="yet another")
    assert _plan(moved_on).applies


def test_an_object_of_somebody_else_is_never_written(snapshot_of: Build) -> None:
    for owner in (None, Owner("studio-2", "p-2")):
        wanted = _plan(_with_child(snapshot_of(), SERVICE, owner=owner, digest="other"))
        assert SERVICE not in [apply.ref for apply in wanted.applies]
        assert "rename the pipeline" in wanted.findings.refused[SERVICE]
        assert not wanted.deletes


def test_children_of_a_predecessor_are_waited_for(snapshot_of: Build) -> None:
    wanted = _plan(_with_child(snapshot_of(), SERVICE, owner=Owner("studio", "an-older-uid")))
    assert wanted.findings.waiting == (SERVICE,)
    assert not wanted.applies
    assert wanted.requeue_after_seconds is not None


def test_what_is_not_wanted_any_more_goes_one_at_a_time_by_uid(snapshot_of: Build) -> None:
    with_ingress = snapshot_of({"networking": {"ingress": {"host": "a.example.org"}}})
    plain = snapshot_of({"networking": {"networkPolicy": {"enabled": False}}})
    wanted = _plan(replace(plain, children=with_ingress.children))
    assert len(wanted.deletes) == 1
    assert wanted.deletes[0].uid == with_ingress.children[wanted.deletes[0].ref].uid
    assert wanted.requeue_after_seconds is not None


def test_somebody_elses_labelled_object_is_not_deleted(snapshot_of: Build) -> None:
    stray = ChildRef("Service", "stray")
    settled = snapshot_of()
    child = replace(settled.children[SERVICE], ref=stray, owner=None)
    assert not _plan(replace(settled, children={**settled.children, stray: child})).deletes


def test_a_kind_that_the_cluster_lacks_is_left_out(snapshot_of: Build) -> None:
    wanted = _plan(snapshot_of(children={}, unavailable={"ServiceMonitor": "no such kind"}))
    kinds = {apply.ref.kind for apply in wanted.applies}
    assert "ServiceMonitor" not in kinds
    assert "Deployment" in kinds


def test_a_paused_pipeline_is_left_alone(snapshot_of: Build) -> None:
    wanted = _plan(snapshot_of({"paused": True}, children={}))
    assert (wanted.applies, wanted.deletes, wanted.initial_replicas) == ((), (), None)


def test_a_pause_tells_what_it_holds_back(snapshot_of: Build) -> None:
    paused = snapshot_of({"paused": True})
    assert _plan(paused).findings.held == ()
    assert _plan(_with_child(paused, SERVICE, digest="other")).findings.held == (SERVICE,)
    assert _plan(_without(paused, DEPLOYMENT)).findings.held == (DEPLOYMENT,)
    foreign = _with_child(paused, SERVICE, digest="other", owner=None)
    assert _plan(foreign).findings.held == (), "somebody else's object is not held back but never ours"


def test_what_moves_with_drains_is_not_held_back_by_a_pause(snapshot_of: Build) -> None:
    budget = ChildRef("PodDisruptionBudget", "studio")
    assert _plan(_with_child(snapshot_of({"paused": True}), budget, digest="other")).findings.held == ()


def test_an_unknown_effect_leaves_children_as_they_are(snapshot_of: Build) -> None:
    stages = {"stages": [{"name": "a", "effect": "Nonsense"}]}
    wanted = _plan(snapshot_of({"pipeline": stages}, children={}))
    assert "spec.pipeline.stages[0].effect" in wanted.findings.invalid
    assert "GaussianBlur" in wanted.findings.invalid
    assert not wanted.applies


def test_nothing_is_written_for_a_pipeline_that_is_being_deleted(snapshot_of: Build) -> None:
    assert _plan(snapshot_of(pipeline={"deleting": True}, children={}, signals=MISSING)) == Plan()


def test_scaling_waits_for_measurements(snapshot_of: Build) -> None:
    assert _plan(snapshot_of()).outcome is None
    assert _plan(snapshot_of(signals=MISSING)).outcome is not None


def test_the_first_number_is_set_once_also_after_a_crash(snapshot_of: Build) -> None:
    settled = snapshot_of(signals=MISSING)
    deployment = settled.deployment
    assert deployment is not None
    fresh = replace(deployment, replicas=1, replicas_owned=False)
    wanted = _plan(_with_child(settled, DEPLOYMENT, deployment=fresh))
    assert wanted.initial_replicas == 2
    assert not wanted.actions
    chosen = replace(deployment, replicas=1, replicas_owned=True)
    assert _plan(_with_child(settled, DEPLOYMENT, deployment=chosen)).initial_replicas is None


def test_the_same_snapshot_gives_the_same_plan(snapshot_of: Build) -> None:
    assert _plan(snapshot_of(children={}, signals=MISSING)) == _plan(snapshot_of(children={}, signals=MISSING))
