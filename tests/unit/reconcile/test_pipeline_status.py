"""Status: conditions by the conventions, and writes only for what matters."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mediapipeline_operator.core.model import ChildRef, Findings, Memory, PodState, Snapshot
from mediapipeline_operator.core.plan import plan
from mediapipeline_operator.core.resources import BuildSettings
from mediapipeline_operator.core.scaling.model import PodFacts, ProblemKind, Signals
from mediapipeline_operator.core.scaling.state import ScalingState
from mediapipeline_operator.core.status import Report, announcements, status, unreadable_status, write_due

Build = Callable[..., Snapshot]
Json = dict[str, Any]
SETTINGS = BuildSettings(mediapod_image="example.org/mediapod:1")
DEPLOYMENT = ChildRef("Deployment", "studio")


def _status(snapshot: Snapshot, findings: Findings | None = None) -> Json:
    return status(snapshot, findings or Findings(), None, SETTINGS)


def _conditions(body: Json) -> dict[str, Json]:
    return {item["type"]: item for item in body["conditions"]}


def _deployment(snapshot: Snapshot, **changes: Any) -> Snapshot:
    child = snapshot.children[DEPLOYMENT]
    assert child.deployment is not None
    changed = replace(child, deployment=replace(child.deployment, **changes))
    return replace(snapshot, children={**snapshot.children, DEPLOYMENT: changed})


def _pending_pod(snapshot: Snapshot, problem: str, seconds: float) -> Snapshot:
    facts = PodFacts(name="studio-1", uid="pod-1", created=snapshot.now, ready=False)
    pod = PodState("media", "studio", "1", "h", facts, problem, snapshot.now - timedelta(seconds=seconds))
    return replace(snapshot, pods=(pod,))


def test_a_settled_pipeline_is_ready(snapshot_of: Build) -> None:
    body = _status(snapshot_of())
    found = _conditions(body)
    assert {name: found[name]["status"] for name in ("Ready", "Available", "Progressing", "Degraded", "Paused")} == {
        "Ready": "True",
        "Available": "True",
        "Progressing": "False",
        "Degraded": "False",
        "Paused": "False",
    }
    assert "Reconciling" not in found
    assert "Stalled" not in found
    assert (body["replicas"], body["readyReplicas"], body["desiredReplicas"]) == (2, 2, 2)


def test_a_pass_that_was_not_finished_has_not_observed_the_new_spec(snapshot_of: Build) -> None:
    edited = snapshot_of(pipeline={"status": {"observedGeneration": 1}, "generation": 2})
    cut_short = _status(edited, Findings(unfinished=True))
    assert {cut_short["observedGeneration"], *(item["observedGeneration"] for item in cut_short["conditions"])} == {1}
    assert _status(edited)["observedGeneration"] == 2


def test_a_paused_pipeline_whose_children_are_not_as_it_wants_them_is_not_ready(snapshot_of: Build) -> None:
    paused = snapshot_of({"paused": True})
    assert _conditions(_status(paused))["Ready"]["status"] == "True"
    held = Findings(held=(ChildRef("Deployment", "studio"),))
    found = _conditions(_status(paused, held))
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "Paused")
    assert "Deployment studio" in found["Ready"]["message"]
    assert not {"Reconciling", "Stalled"} & found.keys()


def test_too_few_ready_replicas(snapshot_of: Build) -> None:
    found = _conditions(_status(_deployment(snapshot_of(), ready=1)))
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "ReplicasUnavailable")
    assert "1 of 2" in found["Ready"]["message"]
    assert found["Reconciling"]["status"] == "True"


def test_a_starting_replica_above_the_minimum_does_not_make_it_unavailable(snapshot_of: Build) -> None:
    grown = _deployment(snapshot_of(), replicas=3, current=3, updated=3, ready=2)
    assert _conditions(_status(grown))["Ready"]["status"] == "True"


def test_a_rollout_is_progress(snapshot_of: Build) -> None:
    found = _conditions(_status(_deployment(snapshot_of(), current=3, updated=1, ready=3)))
    assert found["Progressing"]["reason"] == "RollingOut"
    assert found["Ready"]["status"] == "False"
    assert found["Available"]["status"] == "True"


def test_a_change_of_replicas_is_no_rollout(snapshot_of: Build) -> None:
    scaled = _deployment(snapshot_of(), generation=9, observed_generation=8)
    assert _conditions(_status(scaled))["Progressing"]["status"] == "False"


@pytest.mark.parametrize(
    ("findings", "reason"),
    [
        (Findings(invalid="spec.x: is wrong"), "InvalidPipeline"),
        (Findings(refused={DEPLOYMENT: "in the way"}), "ChildRefused"),
    ],
    ids=["invalid", "refused"],
)
def test_what_a_person_has_to_change_stalls(snapshot_of: Build, findings: Findings, reason: str) -> None:
    found = _conditions(_status(snapshot_of(), findings))
    assert (found["Stalled"]["status"], found["Stalled"]["reason"]) == ("True", reason)
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", reason)
    assert "Reconciling" not in found


def test_a_rejected_write_is_told_in_the_servers_words(snapshot_of: Build) -> None:
    found = _conditions(_status(snapshot_of(), Findings(failed={DEPLOYMENT: "quota exceeded"})))
    assert found["Degraded"]["reason"] == "ApplyFailed"
    assert "quota exceeded" in found["Ready"]["message"]


def test_a_lacking_gpu_names_the_way_out_after_a_minute(snapshot_of: Build) -> None:
    problem = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    gpu = snapshot_of({"compute": {"device": "GPU"}})
    assert _conditions(_status(_pending_pod(gpu, problem, 59)))["Degraded"]["status"] == "False"
    degraded = _conditions(_status(_pending_pod(gpu, problem, 60)))["Degraded"]
    assert degraded["reason"] == "Unschedulable"
    assert "no node offers nvidia.com/gpu; set compute.device: CPU" in degraded["message"]


def test_a_missing_service_monitor_is_no_reason_not_to_be_ready(snapshot_of: Build) -> None:
    found = _conditions(_status(snapshot_of(unavailable={"ServiceMonitor": "no such kind"})))
    assert found["MonitoringAvailable"]["reason"] == "KindMissing"
    assert found["Ready"]["status"] == "True"
    assert found["Degraded"]["status"] == "False"


def test_transition_times_move_with_the_status_alone(snapshot_of: Build) -> None:
    first = _status(snapshot_of())
    later = snapshot_of(pipeline={"status": first, "generation": 2})
    later = replace(later, now=later.now + timedelta(hours=1))
    second = _conditions(_status(later))
    assert second["Ready"]["lastTransitionTime"] == _conditions(first)["Ready"]["lastTransitionTime"]
    assert second["Ready"]["observedGeneration"] == 2
    third = _conditions(_status(_deployment(later, ready=0)))
    assert third["Ready"]["lastTransitionTime"] > second["Ready"]["lastTransitionTime"]


def test_the_same_state_is_not_written_twice(snapshot_of: Build) -> None:
    first = _status(snapshot_of())
    again = snapshot_of(pipeline={"status": first})
    later = replace(again, now=again.now + timedelta(hours=1))
    assert not write_due(first, _status(later), seconds_since_write=3600)


def test_measurements_wait_a_minute_and_their_times_do_not_count() -> None:
    old = {"latency": {"p95Milliseconds": 100, "observedTime": "a"}}
    new = {"latency": {"p95Milliseconds": 120, "observedTime": "b"}}
    assert not write_due(old, new, seconds_since_write=59)
    assert write_due(old, new, seconds_since_write=60)
    assert not write_due(old, {"latency": {"p95Milliseconds": 100, "observedTime": "b"}}, seconds_since_write=600)


@pytest.mark.parametrize(
    "change",
    [
        {"readyReplicas": 1},
        {"desiredReplicas": 3},
        {"autoscaling": {"timers": {"breachSince": "t"}}},
        {"autoscaling": {"decision": {"reason": "LatencyHigh"}}},
        {"autoscaling": {"drains": [{"uid": "u"}]}},
        {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}]},
    ],
    ids=str,
)
def test_what_matters_is_written_at_once(change: Json) -> None:
    assert write_due({}, change, seconds_since_write=0)


def test_what_scaling_wrote_stays_without_a_new_decision(snapshot_of: Build) -> None:
    measured = snapshot_of(signals=Signals.missing(ProblemKind.DOWN, "down"))
    outcome = plan(measured, SETTINGS, tick_seconds=10).outcome
    first = status(measured, Findings(), outcome, SETTINGS)
    assert "ScalingActive" in _conditions(first)
    restarted = snapshot_of(pipeline={"status": first})
    assert not write_due(first, _status(restarted), seconds_since_write=3600)


def _decided(snapshot: Snapshot) -> Report:
    return Report(snapshot, Findings(), plan(snapshot, SETTINGS, tick_seconds=10).outcome, SETTINGS)


def test_that_a_spec_was_carried_out_may_be_said_later(snapshot_of: Build) -> None:
    measured = {"signals": Signals.missing(ProblemKind.DOWN, "down")}
    written = _decided(snapshot_of(**measured)).body
    memory = Memory(state=ScalingState.from_status(written))
    edited = snapshot_of(pipeline={"status": written, "generation": 2}, memory=memory, **measured)
    report = _decided(edited)
    assert write_due(written, report.body, seconds_since_write=0)
    assert report.may_wait


def test_what_scaling_starts_from_may_not_wait(snapshot_of: Build) -> None:
    first = _decided(snapshot_of(signals=Signals.missing(ProblemKind.DOWN, "down")))
    assert not first.may_wait


@pytest.mark.parametrize(
    "findings",
    [Findings(failed={DEPLOYMENT: "403 Forbidden"}), Findings(unfinished=True), Findings(invalid="spec.x: wrong")],
    ids=lambda findings: str(findings)[:40],
)
def test_what_went_wrong_may_not_wait(snapshot_of: Build, findings: Findings) -> None:
    assert Report(snapshot_of(), Findings(), None, SETTINGS).may_wait
    assert not Report(snapshot_of(), findings, None, SETTINGS).may_wait


def test_an_unreadable_spec_is_said_and_the_rest_kept(snapshot_of: Build) -> None:
    snapshot = snapshot_of()
    old = _status(snapshot)
    body = unreadable_status(old, 5, "spec.compute.device: Quantum is unknown", snapshot.now)
    found = _conditions(body)
    assert found["Stalled"]["reason"] == "InvalidPipeline"
    assert found["Available"]["status"] == "True"
    assert body["observedGeneration"] == 5
    assert [note.message for note in announcements(old, body)] == ["spec.compute.device: Quantum is unknown"]
    assert not list(announcements(body, body))


def test_nothing_empty_is_written(snapshot_of: Build) -> None:
    """Server-side apply answers 422 when an object loses its last field but stays."""
    outcome = plan(snapshot_of(signals=Signals.missing(ProblemKind.DOWN, "down")), SETTINGS, tick_seconds=10).outcome
    body = status(snapshot_of(), Findings(), outcome, SETTINGS)

    def empties(value: Any, path: str = "") -> list[str]:
        parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        found = [path] if value in (None, {}, []) else []
        return found + [one for key, item in parts for one in empties(item, f"{path}.{key}")]

    assert empties(body) == []
