"""Engines on a real API server with the real HorizontalPodAutoscaler controller: hand-over without a jump, autoscalers
of others, and a cluster without KEDA.
"""

import time
from collections.abc import Callable
from typing import Any

import yaml

from devcluster.binaries import crd_manifests

Eventually = Callable[..., Any]
HPA = "HorizontalPodAutoscaler"


def replicas(world: Any) -> int:
    found: int = world.get("Deployment", "studio")["spec"]["replicas"]
    return found


def requested(world: Any) -> int:
    found: int = world.get("MediaPipeline", "studio")["spec"]["replicas"]
    return found


def choose(world: Any, engine: str, **spec: Any) -> None:
    world.patch("MediaPipeline", "studio", {"spec": {"autoscaling": {"engine": engine}, **spec}})


def scale(world: Any, kind: str, number: int) -> None:
    world.patch(kind, "studio", {"spec": {"replicas": number}}, "scale")


def written(world: Any, resource: str, eventually: Eventually) -> list[tuple[str, str, str]]:
    """What the operator has written here, from the moment on at which this is among it: the audit log follows."""

    def so_far() -> list[tuple[str, str, str]]:
        found = [(one.verb, one.resource, one.subresource) for one in world.writes() if one.code < 300]
        return found if resource in {one[1] for one in found} else []

    found: list[tuple[str, str, str]] = eventually(so_far, f"{resource} in the audit log")
    return found


def started(world: Any, eventually: Eventually, **autoscaling: Any) -> None:
    """A pipeline with four replicas whose spec.replicas is still the default of two."""
    world.pipeline(autoscaling={"minReplicas": 4, **autoscaling})
    eventually(lambda: world.get("Deployment", "studio") and replicas(world) == 4, "the initial replicas")
    eventually(lambda: world.status().get("autoscaling"), "a first decision")


def hpa(name: str, kind: str) -> dict[str, Any]:
    """An autoscaler of somebody else; the cluster has no metrics for it, so it changes nothing by itself."""
    group = "apps/v1" if kind == "Deployment" else "media.rtcscale.dev/v1alpha1"
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    spec = {
        "scaleTargetRef": {"apiVersion": group, "kind": kind, "name": "studio"},
        "maxReplicas": 9,
        "metrics": [metric],
    }
    return {"apiVersion": "autoscaling/v2", "kind": HPA, "metadata": {"name": name}, "spec": spec}


def test_engines_follow_each_other_without_a_jump(operator: Any, world: Any, eventually: Eventually) -> None:
    started(world, eventually)
    assert requested(world) == 2
    seen = []
    choose(world, HPA)
    eventually(lambda: seen.append(replicas(world)) or world.get(HPA, "studio"), "the autoscaler")
    assert requested(world) == 4
    created = written(world, "horizontalpodautoscalers", eventually)
    handed = created.index(("update", "mediapipelines", "scale"))
    assert handed < created.index(("patch", "horizontalpodautoscalers", ""))
    scale(world, "MediaPipeline", 6)  # as the autoscaler does
    eventually(lambda: replicas(world) == 6, "the number to be carried out")
    choose(world, "Operator")
    eventually(lambda: world.get(HPA, "studio") is None, "the autoscaler to go")
    choose(world, "None")
    eventually(lambda: world.status()["autoscaling"].get("engine") == "None", "engine None to decide")
    time.sleep(3)
    assert (requested(world), replicas(world)) == (6, 6)
    assert set(seen) == {4}
    assert "DrainStarted" not in world.reasons()


def test_a_number_that_is_set_together_with_the_engine_is_meant(
    operator: Any, world: Any, eventually: Eventually
) -> None:
    started(world, eventually)
    choose(world, "None", replicas=5)
    eventually(lambda: replicas(world) == 5, "the number that was asked for")


def test_an_autoscaler_of_ours_is_written_once_and_repaired(
    start_operator: Any, world: Any, eventually: Eventually
) -> None:
    """The HorizontalPodAutoscaler's controller writes its status all the time; that is no drift."""
    start_operator()
    signals = [{"type": "GPUUtilization"}, {"type": "MemoryUtilization"}, {"type": "RequestsPerSecond", "target": 1500}]
    started(world, eventually, engine=HPA, signals=signals, latency={"scaleUp": {"aboveMilliseconds": 1000}})
    eventually(lambda: world.get(HPA, "studio"), "the autoscaler")
    eventually(lambda: (world.get(HPA, "studio")["status"] or {}).get("conditions"), "its controller")
    written(world, "horizontalpodautoscalers", eventually)
    time.sleep(3)
    assert sum(one.resource == "horizontalpodautoscalers" for one in world.writes()) == 1
    world.patch(HPA, "studio", {"spec": {"maxReplicas": 50}})
    eventually(lambda: world.get(HPA, "studio")["spec"]["maxReplicas"] == 10, "the repair")


def test_hands_off_while_somebody_else_scales_the_deployment(operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline(replicas=3, autoscaling={"engine": "None"})
    eventually(lambda: world.get("Deployment", "studio") and replicas(world) == 3, "the initial replicas")
    world.create(HPA, hpa("foreign", "Deployment"))
    eventually(lambda: world.condition("ConflictingAutoscaler").get("status") == "True", "the condition")
    message = world.condition("ConflictingAutoscaler")["message"]
    assert "HorizontalPodAutoscaler foreign scales Deployment studio" in message
    assert "with autoscaling.engine None" in message
    eventually(lambda: world.condition("ScalingActive").get("reason") == "ConflictingAutoscaler", "scaling to pause")
    scale(world, "Deployment", 5)
    time.sleep(4)
    assert replicas(world) == 5
    eventually(lambda: "ConflictingAutoscaler" in world.reasons(), "the event")
    world.delete(HPA, "foreign")
    eventually(lambda: world.condition("ConflictingAutoscaler").get("status") == "False", "the condition to end")
    eventually(lambda: "DrainStarted" in world.reasons() or replicas(world) == 3, "the operator to take over again")


def test_an_autoscaler_on_the_pipeline_is_welcome_with_engine_none(
    operator: Any, world: Any, eventually: Eventually
) -> None:
    started(world, eventually)
    world.create(HPA, hpa("foreign", "MediaPipeline"))
    eventually(lambda: world.condition("ConflictingAutoscaler").get("status") == "True", "the condition")
    assert "whose engine is Operator" in world.condition("ConflictingAutoscaler")["message"]
    choose(world, "None")
    eventually(lambda: world.condition("ConflictingAutoscaler").get("status") == "False", "no conflict any more")
    scale(world, "MediaPipeline", 6)
    eventually(lambda: replicas(world) == 6, "the number to be carried out")


def test_keda_is_missed_then_used(operator: Any, world: Any, api: Any, kubectl: Any, eventually: Eventually) -> None:
    """KEDA's CRD with its real schema, without its controllers."""
    started(world, eventually)
    choose(world, "KEDA")
    eventually(lambda: world.condition("Degraded").get("reason") == "KindUnavailable", "the condition")
    assert "install KEDA, or choose another engine" in world.condition("Degraded")["message"]
    assert (replicas(world), requested(world)) == (4, 2)
    definition = yaml.safe_load(crd_manifests("scaledobjects").read_text())
    kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump(definition))
    try:
        eventually(lambda: world.get("ScaledObject", "studio"), "the ScaledObject")
        assert (replicas(world), requested(world)) == (4, 4)
        spec = world.get("ScaledObject", "studio")["spec"]
        assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
        assert spec["triggers"][0]["metadata"]["ignoreNullValues"] == "false"
        written(world, "scaledobjects", eventually)
        time.sleep(3)
        assert sum(one.resource == "scaledobjects" for one in world.writes()) == 1
        choose(world, "Operator")
        eventually(lambda: world.get("ScaledObject", "studio") is None, "the ScaledObject to go")
    finally:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition['metadata']['name']}"
        api.delete(path)
        eventually(lambda: api.get(path).status_code == 404, "the CRD to go, before another test installs it")
