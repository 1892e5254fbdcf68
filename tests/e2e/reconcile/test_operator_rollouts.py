"""Rollouts on a real API server: an upgrade of the operator rolls pipelines in turn, a spec at once or not at all."""

from collections.abc import Callable
from typing import Any

Eventually = Callable[..., Any]
NAMES = ("first", "second", "third")
OLD, NEW = "example.org/mediapod:1", "example.org/mediapod:2"


def image_of(deployment: dict[str, Any]) -> str:
    image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


class Kubelet:
    """Says of pods that they are ready, when it is asked to."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def ready(self, *pipelines: str) -> None:
        for pod in self.world.items("Pod"):
            name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
            if "deletionTimestamp" in pod["metadata"]:
                self.world.api.delete(self.world.path("Pod", name), params={"gracePeriodSeconds": 0})
            elif labels["media.rtcscale.dev/pipeline"] in pipelines and pod["status"].get("phase") != "Running":
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]}
                self.world.patch("Pod", name, {"status": status}, "status")

    def settled(self, *pipelines: str) -> Callable[[], bool]:
        """A condition to wait for: all pods that these pipelines want are there and ready, their specs observed (one
        that is not yet does not wait for a turn).
        """

        def check() -> bool:
            self.ready(*pipelines)
            return all(self._observed(name) and self._is_ready(name) for name in pipelines)

        return check

    def _observed(self, pipeline: str) -> bool:
        generation = self.world.get("MediaPipeline", pipeline)["metadata"]["generation"]
        return bool(self.world.status(pipeline).get("observedGeneration") == generation)

    def _is_ready(self, pipeline: str) -> bool:
        return bool(self.world.condition("Ready", pipeline).get("status") == "True")


def test_an_upgrade_rolls_one_pipeline_at_a_time_and_a_spec_does_not_wait(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    kubelet = Kubelet(world)
    before = start_operator(f"--mediapod-image={OLD}", "--prometheus-url=http://127.0.0.1:9")
    for name in NAMES:
        world.pipeline(name)
    eventually(kubelet.settled(*NAMES), "all pipelines to be ready")
    before.stop()
    start_operator(f"--mediapod-image={NEW}", "--max-concurrent-rollouts=1", "--prometheus-url=http://127.0.0.1:9")

    def upgraded() -> list[str]:
        return [name for name in NAMES if image_of(world.get("Deployment", name)) == NEW]

    def queued() -> list[str]:
        return [name for name in NAMES if world.condition("Progressing", name).get("reason") == "RolloutQueued"]

    eventually(upgraded, "the first upgrade")
    eventually(lambda: len(queued()) == 2, "the others to say that they wait")
    assert len(upgraded()) == 1
    assert all(world.condition("Ready", name)["status"] == "True" for name in queued())
    first = upgraded()[0]
    eventually(
        lambda: world.condition("Progressing", first)["reason"] == "TemplateRollingOut", "the first one's status"
    )
    impatient = queued()[0]
    world.patch("MediaPipeline", impatient, {"spec": {"sessions": {"maxPerReplica": 5}}})
    eventually(lambda: image_of(world.get("Deployment", impatient)) == NEW, "the new spec")
    eventually(lambda: impatient not in queued(), "its status")
    assert len(upgraded()) == 2
    eventually(kubelet.settled(*upgraded()), "both rollouts")
    eventually(lambda: kubelet.ready(*NAMES) or len(upgraded()) == 3, "the last one's turn")
    eventually(kubelet.settled(*NAMES), "the end of the upgrade")


def test_what_pods_need_not_see_rolls_nothing(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually, kubectl: Callable[..., Any]
) -> None:
    start_operator("--prometheus-url=http://127.0.0.1:9")
    world.pipeline()
    eventually(Kubelet(world).settled("studio"), "readiness")
    sets = [one["metadata"]["name"] for one in replica_sets(world)]
    spec = {
        "autoscaling": {"minReplicas": 1, "maxReplicas": 20, "drain": {"timeoutSeconds": 60}},
        "networking": {"service": {"annotations": {"a": "b"}}, "networkPolicy": {"allowFrom": [{"podSelector": {}}]}},
        "rollout": {"maxSurge": 2},
    }
    world.patch("MediaPipeline", "studio", {"spec": spec})
    eventually(lambda: world.status()["observedGeneration"] == 2, "the new spec")
    eventually(lambda: world.get("Service", "studio")["metadata"].get("annotations") == {"a": "b"}, "its children")
    assert world.get("Deployment", "studio")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 2
    assert [one["metadata"]["name"] for one in replica_sets(world)] == sets
    kubectl("rollout", "status", "deployment/studio", "--namespace", world.namespace, "--timeout=60s")


def replica_sets(world: Any) -> list[dict[str, Any]]:
    found = world.api.get(f"/apis/apps/v1/namespaces/{world.namespace}/replicasets").raise_for_status().json()
    items: list[dict[str, Any]] = found["items"]
    return items


def test_nothing_is_scaled_down_while_pods_are_replaced(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    start_operator("--prometheus-url=http://127.0.0.1:9")
    kubelet = Kubelet(world)
    world.pipeline(autoscaling={"engine": "None"}, replicas=3)
    eventually(kubelet.settled("studio"), "readiness")
    world.patch("MediaPipeline", "studio", {"spec": {"sessions": {"maxPerReplica": 5}}})
    eventually(lambda: world.condition("Progressing").get("reason") == "RollingOut", "the rollout")
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 1}})
    eventually(lambda: world.status()["observedGeneration"] == 3, "the wish for fewer")

    def blocked() -> bool:
        decision = (world.status().get("autoscaling") or {}).get("decision") or {}
        return "RolloutInProgress" in decision.get("blockedBy", [])

    eventually(blocked, "the reason for holding")
    assert world.get("Deployment", "studio")["spec"]["replicas"] == 3
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 5}})
    eventually(lambda: world.get("Deployment", "studio")["spec"]["replicas"] == 5, "more, which is never frozen")
