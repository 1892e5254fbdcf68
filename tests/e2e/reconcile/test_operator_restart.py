"""Restarts, leadership and crashes: nothing is written for nothing, and every interruption ends in the same state."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from e2e.quiet import late_writes, settled

Eventually = Callable[..., Any]
QUIET_SECONDS = 5.0
LEASE_SECONDS = 15


def test_nothing_is_written_while_nothing_changes_nor_at_a_restart(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    first = start_operator()
    world.pipeline()
    before = settled(world, eventually)
    assert before.writes > 0
    assert late_writes(world, before, QUIET_SECONDS) == []
    assert first.stop() == 0
    second = start_operator()
    eventually(second.leads, "the new leader")
    eventually(second.has_decided, "its first decision")
    assert late_writes(world, before, QUIET_SECONDS) == []


def test_a_stopped_leader_gives_the_lease_back(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    first = start_operator()
    eventually(first.leads, "the first leader")
    assert first.stop() == 0
    lease = world.get("Lease", "mediapipeline-operator")
    assert not lease["spec"].get("holderIdentity")


def test_one_leads_and_the_other_takes_over_after_a_crash(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    lease = f"--lease-duration-seconds={LEASE_SECONDS}"
    operators = [start_operator(lease), start_operator(lease)]
    eventually(lambda: any(one.leads() for one in operators), "a leader")
    eventually(lambda: all(one.get("/readyz") == 200 for one in operators), "both to be ready")
    assert [one.leads() for one in operators].count(True) == 1
    leader, standby = sorted(operators, key=lambda one: not one.leads())
    world.pipeline()
    settled(world, eventually)
    assert not standby.leads()
    leader.kill()
    eventually(standby.leads, "the standby to take over")
    renewed, taken = eventually(lambda: _last_and_first(world.lease_updates()), "the Lease to change hands")
    assert taken - renewed >= timedelta(seconds=LEASE_SECONDS)  # it has waited for the lease to run out
    world.delete("Service", "studio")
    eventually(lambda: world.get("Service", "studio"), "the new leader's repair")
    eventually(lambda: standby.get("/healthz") == 200, "its health")


def _last_and_first(updates: list[dict[str, Any]]) -> tuple[datetime, datetime] | None:
    """When the first holder has renewed for the last time, and the second one has acquired."""
    first = [one for one in updates if one["holderIdentity"] == updates[0]["holderIdentity"]]
    second = next((one for one in updates if one["holderIdentity"] not in ("", first[0]["holderIdentity"])), None)
    if second is None:
        return None
    return datetime.fromisoformat(first[-1]["renewTime"]), datetime.fromisoformat(second["acquireTime"])


@pytest.mark.parametrize("after", ["ServiceAccount", "Service", "NetworkPolicy", "Deployment", "PodDisruptionBudget"])
def test_a_crash_during_creation_ends_in_the_same_state(
    after: str, start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    first = start_operator()
    eventually(first.leads, "the leader")
    world.pipeline(autoscaling={"minReplicas": 4})
    while world.get(after, "studio") is None:
        time.sleep(0.002)
    first.kill()
    world.hand_over()
    second = start_operator()
    eventually(second.leads, "the new leader")
    eventually(lambda: world.status().get("updatedReplicas") == 4, "all replicas")
    eventually(lambda: world.get("PodDisruptionBudget", "studio"), "the last child")
    eventually(lambda: len(world.items("Service")) == 2, "both Services")
    assert "ChildRefused" not in world.reasons()
