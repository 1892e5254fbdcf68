"""Restarts, leadership and crashes: nothing is written for nothing, and every interruption ends in the same state."""

import time
from collections.abc import Callable
from typing import Any

import pytest

Eventually = Callable[..., Any]
QUIET_SECONDS = 5.0
LEASE_SECONDS = 6.0
SETTLED_SECONDS = 3.0


def _settled(world: Any, eventually: Eventually) -> None:
    """Both replicas counted, a decision published and the scheduler heard; then nothing more is to come."""
    eventually(lambda: world.status().get("updatedReplicas") == 2, "both pods")
    eventually(lambda: world.status().get("autoscaling"), "a decision")
    eventually(lambda: all(pod["status"].get("conditions") for pod in world.items("Pod")), "the scheduler's word")
    count = -1
    while count != len(world.writes()):
        count = len(world.writes())
        time.sleep(SETTLED_SECONDS)


def _unchanged_for(seconds: float, world: Any, before: int) -> None:
    time.sleep(seconds)
    assert [f"{one.verb} {one.resource}/{one.subresource} {one.name}" for one in world.writes()[before:]] == []


def test_nothing_is_written_while_nothing_changes_nor_at_a_restart(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    first = start_operator()
    world.pipeline()
    _settled(world, eventually)
    written = len(world.writes())
    assert written > 0
    _unchanged_for(QUIET_SECONDS, world, written)
    assert first.stop() == 0
    second = start_operator()
    eventually(second.leads, "the new leader")
    eventually(second.has_decided, "its first decision")
    _unchanged_for(QUIET_SECONDS, world, written)


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
    operators = [start_operator(), start_operator()]
    eventually(lambda: any(one.leads() for one in operators), "a leader")
    eventually(lambda: all(one.get("/readyz") == 200 for one in operators), "both to be ready")
    assert [one.leads() for one in operators].count(True) == 1
    leader, standby = sorted(operators, key=lambda one: not one.leads())
    world.pipeline()
    _settled(world, eventually)
    assert not standby.leads()
    leader.kill()
    started = time.monotonic()
    eventually(standby.leads, "the standby to take over")
    assert time.monotonic() - started > LEASE_SECONDS / 3  # it has waited for the lease to run out
    world.delete("Service", "studio")
    eventually(lambda: world.get("Service", "studio"), "the new leader's repair")
    eventually(lambda: standby.get("/healthz") == 200, "its health")


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
    second = start_operator()
    eventually(second.leads, "the new leader")
    eventually(lambda: world.status().get("updatedReplicas") == 4, "all replicas")
    assert world.get("PodDisruptionBudget", "studio")
    assert len(world.items("Service")) == 2
    assert "ChildRefused" not in world.reasons()
