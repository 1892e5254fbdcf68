"""The one actuator on a real API server: mark, drain, wait for the sessions, lower; and un-drain.

Pods answer for themselves, as mediapods would.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.standin_pods import Pod

Eventually = Callable[..., Any]
DRAINING = "media.rtcscale.dev/draining"


@pytest.fixture
def pods_of(world: Any) -> Iterator[Callable[[int], dict[str, Pod]]]:
    """`pods_of(sessions)` makes all pods of the namespace ready, each with so many sessions."""
    made: list[Pod] = []

    def make(sessions: int) -> dict[str, Pod]:
        found = {
            item["metadata"]["name"]: Pod(world, item["metadata"]["name"], sessions) for item in world.items("Pod")
        }
        made.extend(found.values())
        return found

    yield make
    for pod in made:
        pod.close()


def _marked(world: Any) -> list[str]:
    return [item["metadata"]["name"] for item in world.items("Pod") if DRAINING in item["metadata"]["labels"]]


def _replicas(world: Any) -> int:
    count: int = world.get("Deployment", "studio")["spec"]["replicas"]
    return count


def _three_ready(world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually) -> dict[str, Pod]:
    world.pipeline(autoscaling={"engine": "None"}, replicas=3)
    eventually(lambda: len(world.items("Pod")) == 3, "three pods")
    pods = pods_of(2)
    eventually(lambda: world.condition("Ready").get("status") == "True", "the pipeline to be ready")
    return pods


def test_a_replica_leaves_only_when_its_sessions_have_ended(
    operator: Any, world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually
) -> None:
    pods = _three_ready(world, pods_of, eventually)
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 2}})
    eventually(lambda: any(pod.draining for pod in pods.values()), "a drain")
    victim = next(pod for pod in pods.values() if pod.draining)
    eventually(lambda: world.condition("Draining").get("status") == "True", "the condition")
    assert _marked(world) == [victim.name]
    eventually(lambda: world.get("PodDisruptionBudget", "studio")["spec"]["maxUnavailable"] == 2, "room for the drain")
    time.sleep(4.0)
    assert _replicas(world) == 3  # two sessions are left
    victim.sessions = 0
    eventually(lambda: _replicas(world) == 2, "the smaller number")
    eventually(lambda: len(world.items("Pod")) == 2, "the pod to go")
    assert victim.name not in {item["metadata"]["name"] for item in world.items("Pod")}
    eventually(lambda: world.condition("Draining").get("status") == "False", "the end of the drain")
    eventually(lambda: {"DrainStarted", "DrainCompleted"} <= set(world.reasons()), "both events")


def test_a_drain_is_undone_when_the_replica_is_needed_again(
    operator: Any, world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually
) -> None:
    pods = _three_ready(world, pods_of, eventually)
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 2}})
    eventually(lambda: any(pod.draining for pod in pods.values()), "a drain")
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 3}})
    eventually(lambda: not any(pod.draining for pod in pods.values()), "the pod to take sessions again")
    eventually(lambda: _marked(world) == [], "the mark to go")
    assert _replicas(world) == 3
    assert len(world.items("Pod")) == 3


def test_a_restarted_operator_goes_on_with_a_drain(
    start_operator: Callable[..., Any], world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually
) -> None:
    first = start_operator()
    pods = _three_ready(world, pods_of, eventually)
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 2}})
    eventually(lambda: any(pod.draining for pod in pods.values()), "a drain")
    victim = next(pod for pod in pods.values() if pod.draining)
    first.kill()
    world.hand_over()
    victim.draining = False  # its container was restarted meanwhile, and forgot
    victim.report()
    start_operator()
    eventually(lambda: victim.draining, "the drain to be asked for again")
    victim.sessions = 0
    eventually(lambda: len(world.items("Pod")) == 2, "the pod to go")
    assert victim.name not in {item["metadata"]["name"] for item in world.items("Pod")}


def test_of_two_drains_the_empty_one_goes_and_the_other_keeps_its_sessions(
    operator: Any, world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually
) -> None:
    """The real ReplicaSet chooses among two unready pods: by the deletion cost, not the one with sessions."""
    drain = {"maxParallel": 2}
    world.pipeline(autoscaling={"engine": "None", "drain": drain}, replicas=3)
    eventually(lambda: len(world.items("Pod")) == 3, "three pods")
    pods = pods_of(2)
    eventually(lambda: world.condition("Ready").get("status") == "True", "the pipeline to be ready")
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 1}})
    eventually(lambda: sum(pod.draining for pod in pods.values()) == 2, "two drains")
    created = {item["metadata"]["name"]: item["metadata"]["creationTimestamp"] for item in world.items("Pod")}
    oldest, newest = sorted((pod for pod in pods.values() if pod.draining), key=lambda pod: created[pod.name])
    oldest.sessions = 0
    eventually(lambda: _replicas(world) == 2, "the smaller number while the other still drains")
    eventually(lambda: len(world.items("Pod")) == 2, "the empty pod to go")
    left = {item["metadata"]["name"] for item in world.items("Pod")}
    assert oldest.name not in left
    assert newest.name in left
    newest.sessions = 0
    eventually(lambda: len(world.items("Pod")) == 1, "the other one to follow")
