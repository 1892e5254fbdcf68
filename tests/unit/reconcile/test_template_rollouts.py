"""Rollouts that no spec asked for wait for a turn; everything else rolls at once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.core.health import conditions
from mediapipeline_operator.core.model import ChildRef, Findings, Memory, Snapshot
from mediapipeline_operator.core.plan import plan
from mediapipeline_operator.core.resources import BuildSettings
from mediapipeline_operator.core.rollouts import template_rolls_out
from mediapipeline_operator.core.scaling.state import ScalingState
from mediapipeline_operator.core.status import status
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.rollouts import RolloutTurns

Build = Callable[..., Snapshot]
DEPLOYMENT = ChildRef("Deployment", "studio")
BEFORE = BuildSettings(mediapod_image="example.org/mediapod:1")
AFTER = BuildSettings(mediapod_image="example.org/mediapod:2")
SETTLED = {"observedGeneration": 1}


def applied(snapshot: Snapshot, settings: BuildSettings) -> list[str]:
    return [apply.ref.kind for apply in plan(snapshot, settings, tick_seconds=10).applies]


def rolling(snapshot: Snapshot) -> Snapshot:
    child = snapshot.children[DEPLOYMENT]
    assert child.deployment is not None
    busy = replace(child.deployment, current=3, updated=1)
    return replace(snapshot, children={**snapshot.children, DEPLOYMENT: replace(child, deployment=busy)})


def progressing(snapshot: Snapshot, findings: Findings = Findings()) -> tuple[bool | None, str]:  # noqa: B008  frozen
    found = next(item for item in conditions(snapshot, findings) if item.type == "Progressing")
    return found.status, found.reason


def test_an_upgrade_waits_for_its_turn_and_says_so(snapshot_of: Build) -> None:
    snapshot = snapshot_of(pipeline={"status": SETTLED})
    assert applied(snapshot, AFTER) == []
    findings = plan(snapshot, AFTER, tick_seconds=10).findings
    assert findings.queued
    assert progressing(snapshot, findings) == (True, "RolloutQueued")


def test_it_rolls_when_its_turn_has_come(snapshot_of: Build) -> None:
    snapshot = snapshot_of(pipeline={"status": SETTLED}, rollout_slot=True)
    assert applied(snapshot, AFTER) == ["Deployment"]
    assert not plan(snapshot, AFTER, tick_seconds=10).findings.queued


def test_a_new_spec_does_not_wait_after_a_pass_that_was_not_finished(snapshot_of: Build) -> None:
    snapshot = snapshot_of(pipeline={"status": SETTLED, "generation": 2})
    left = status(snapshot, Findings(unfinished=True), None, BEFORE)
    assert applied(replace(snapshot, pipeline=replace(snapshot.pipeline, status=left)), AFTER) == ["Deployment"]


def test_a_new_spec_never_waits(snapshot_of: Build) -> None:
    snapshot = snapshot_of(pipeline={"status": SETTLED, "generation": 2})
    assert applied(snapshot, AFTER) == ["Deployment"]


def test_a_new_pipeline_never_waits(snapshot_of: Build) -> None:
    assert "Deployment" in applied(snapshot_of(children={}), AFTER)


def test_an_edited_deployment_is_repaired_at_once(snapshot_of: Build) -> None:
    snapshot = snapshot_of(pipeline={"status": SETTLED})
    expected = plan(snapshot, BEFORE, tick_seconds=10).expected
    assert expected is not None
    edited = replace(snapshot.children[DEPLOYMENT], digest="edited")
    known = replace(
        snapshot,
        children={**snapshot.children, DEPLOYMENT: edited},
        memory=Memory(state=ScalingState(), converged=expected.digests),
    )
    assert applied(known, BEFORE) == ["Deployment"]


def test_other_children_do_not_wait(snapshot_of: Build) -> None:
    """Only the Deployment rolls pods."""
    snapshot = snapshot_of(pipeline={"status": SETTLED})
    labelled = BuildSettings(mediapod_image="example.org/mediapod:1", service_monitor_labels={"release": "new"})
    assert applied(snapshot, labelled) == ["ServiceMonitor"]


@pytest.mark.parametrize(
    ("status", "generation", "ours"),
    [
        ({"observedGeneration": 1}, 1, True),
        ({"observedGeneration": 1}, 2, False),
        ({}, 1, False),
        ({"observedGeneration": 2, "reason": "RollingOut"}, 2, False),
        ({"observedGeneration": 2, "reason": "TemplateRollingOut"}, 2, True),
        ({"observedGeneration": 2, "reason": "Settled"}, 2, True),
    ],
)
def test_whose_rollout_it_is_follows_from_what_the_cluster_says(
    status: dict[str, Any], generation: int, ours: bool, snapshot_of: Build
) -> None:
    observed = status.get("observedGeneration", 0)
    reason = status.pop("reason", None)
    if reason:
        status["conditions"] = [{"type": "Progressing", "reason": reason, "observedGeneration": observed}]
    snapshot = rolling(snapshot_of(pipeline={"status": status, "generation": generation}))
    assert template_rolls_out(snapshot) is ours
    assert progressing(snapshot) == (True, "TemplateRollingOut" if ours else "RollingOut")


def keys(count: int) -> list[Key]:
    return [Key("media", f"p{number}") for number in range(count)]


def test_no_more_have_a_turn_than_the_limit_says() -> None:
    turns = RolloutTurns(2, Metrics())
    assert [turns.take(key) for key in keys(4)] == [True, True, False, False]
    first, second, third, _ = keys(4)
    turns.note(first, rolling=True, waiting=False)
    assert turns.take(first)
    assert not turns.take(third)
    turns.note(second, rolling=False, waiting=False)
    assert turns.take(third)


def test_after_a_restart_every_rollout_counts_until_its_pass_says_what_it_is() -> None:
    turns = RolloutTurns(2, Metrics())
    first, second, third = keys(3)
    turns.begin([first, second])
    assert not turns.take(third)
    turns.note(first, rolling=False, waiting=False)
    assert turns.take(third)


def test_a_pipeline_that_is_gone_gives_its_turn_back() -> None:
    turns = RolloutTurns(1, Metrics())
    first, second = keys(2)
    assert turns.take(first)
    turns.forget(first)
    assert turns.take(second)


def test_the_metric_counts_who_rolls_and_who_waits() -> None:
    metrics = Metrics()
    turns = RolloutTurns(1, metrics)
    first, second = keys(2)
    turns.take(first)
    turns.note(first, rolling=True, waiting=False)
    turns.note(second, rolling=False, waiting=True)
    assert counted(metrics.registry) == {"running": 1, "waiting": 1}


def counted(registry: CollectorRegistry) -> dict[str, float]:
    name = "mediapipeline_operator_template_rollouts"
    return {state: registry.get_sample_value(name, {"state": state}) or 0 for state in ("running", "waiting")}
