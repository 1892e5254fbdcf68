"""What people and their tools see: kstatus, kubectl wait, get -o wide, scale, delete."""

from collections.abc import Callable
from typing import Any

Eventually = Callable[..., Any]
Json = dict[str, Any]


def kstatus(obj: Json) -> str:
    """The published rules of kstatus (sigs.k8s.io/cli-utils) for a custom resource."""
    status = obj.get("status") or {}
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and observed != obj["metadata"]["generation"]:
        return "InProgress"
    conditions = {item["type"]: item["status"] for item in status.get("conditions") or ()}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "InProgress" if conditions.get("Ready") in ("False", "Unknown") else "Current"


def run_pods(world: Any) -> None:
    """Says of all pods that they are ready, as a kubelet would; and of ended ones that they are gone."""
    for pod in world.items("Pod"):
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"]:
            world.api.delete(world.path("Pod", name), params={"gracePeriodSeconds": 0})
        elif pod["status"].get("phase") != "Running":
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]}
            world.patch("Pod", name, {"status": status}, "status")


def becomes(world: Any, wanted: str) -> Callable[[], bool]:
    def check() -> bool:
        run_pods(world)
        live = world.get("MediaPipeline", "studio")
        return "status" in live and kstatus(live) == wanted  # without a status kstatus calls everything Current

    return check


def test_kstatus_follows_the_life_of_a_pipeline(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    start_operator("--prometheus-url=http://127.0.0.1:9")
    world.pipeline()
    eventually(lambda: world.status().get("conditions"), "the first status")
    assert kstatus(world.get("MediaPipeline", "studio")) == "InProgress"
    eventually(becomes(world, "Current"), "Current")
    conditions = world.status()["conditions"]
    assert {item["observedGeneration"] for item in conditions} == {1}
    assert not {"Reconciling", "Stalled"} & {item["type"] for item in conditions}, "present only when True"
    world.patch("MediaPipeline", "studio", {"spec": {"pipeline": {"stages": [{"name": "a", "effect": "Nonsense"}]}}})
    eventually(becomes(world, "Failed"), "Failed")
    assert world.condition("Ready")["status"] == "False"
    assert "Nonsense" in world.condition("Stalled")["message"]
    stages = [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}]
    world.patch("MediaPipeline", "studio", {"spec": {"pipeline": {"stages": stages}}})
    eventually(becomes(world, "Current"), "Current again")


def test_kubectl_waits_prints_scales_and_deletes(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually, kubectl: Callable[..., Any]
) -> None:
    operator = start_operator("--prometheus-url=http://127.0.0.1:9")
    world.pipeline(autoscaling={"engine": "None"}, replicas=1)
    where = ("--namespace", world.namespace)
    eventually(becomes(world, "Current"), "pods")
    kubectl("wait", "--for=condition=Ready", "mpl/studio", *where, "--timeout=60s")
    head, row = kubectl("get", "mpl", *where, "--output=wide").stdout.splitlines()
    shown = dict(zip(head.split(), row.split(), strict=False))
    assert (shown["NAME"], shown["READY"], shown["REPLICAS"], shown["DESIRED"]) == ("studio", "True", "1", "1")
    assert "CPU" in row
    assert world.status()["image"] in row
    kubectl("scale", "mpl/studio", *where, "--replicas=3")
    eventually(lambda: world.get("Deployment", "studio")["spec"]["replicas"] == 3, "the new number")
    # A status of before the three may still say that all is well.
    eventually(lambda: becomes(world, "Current")() and world.status()["readyReplicas"] == 3, "three pods")
    kubectl("rollout", "status", "deployment/studio", *where, "--timeout=60s")
    assert world.status()["replicas"] == 3
    operator.stop()
    kubectl("delete", "mpl/studio", *where, "--timeout=60s")  # nothing of ours has to run for that
    eventually(lambda: world.get("Deployment", "studio") is None, "the garbage collector")
