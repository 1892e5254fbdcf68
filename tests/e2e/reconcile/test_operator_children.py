"""Children come, change, are repaired and go with their pipeline, on a real API server."""

from collections.abc import Callable
from typing import Any

import pytest

Eventually = Callable[..., Any]
CHILDREN = (
    ("ServiceAccount", "studio"),
    ("Service", "studio"),
    ("Service", "studio-pods"),
    ("NetworkPolicy", "studio"),
    ("Deployment", "studio"),
    ("PodDisruptionBudget", "studio"),
)
INSTANCE = "app.kubernetes.io/instance"


def _created(world: Any, eventually: Eventually) -> None:
    eventually(lambda: all(world.get(*child) for child in CHILDREN), "all children")
    eventually(lambda: world.status().get("observedGeneration") == 1, "the first status")
    eventually(lambda: world.status().get("autoscaling"), "the first decision: by then a pass has come to its end")


def _env(world: Any) -> dict[str, Any]:
    container = world.get("Deployment", "studio")["spec"]["template"]["spec"]["containers"][0]
    return {item["name"]: item.get("value") for item in container["env"]}


def test_a_pipeline_gets_its_children_and_a_status(operator: Any, world: Any, eventually: Eventually) -> None:
    pipeline = world.pipeline(autoscaling={"minReplicas": 3})
    _created(world, eventually)
    for child in CHILDREN:
        owners = world.get(*child)["metadata"]["ownerReferences"]
        assert [owner["uid"] for owner in owners] == [pipeline["metadata"]["uid"]], child
    eventually(lambda: world.get("Deployment", "studio")["spec"]["replicas"] == 3, "the initial replicas")
    eventually(lambda: world.status().get("replicas") == 3, "replicas in status")
    status = world.status()
    assert status["selector"] == "media.rtcscale.dev/pipeline=studio"
    assert status["endpoints"]["signalling"] == f"http://studio.{world.namespace}.svc:8080"
    assert status["image"]
    assert world.condition("Ready")["status"] == "False"
    assert world.condition("Reconciling")["status"] == "True"
    assert {item["observedGeneration"] for item in status["conditions"]} == {1}


def test_an_edit_changes_the_template(operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline()
    _created(world, eventually)
    before = _env(world)["MAX_SESSIONS_PER_POD"]
    world.patch("MediaPipeline", "studio", {"spec": {"sessions": {"maxPerReplica": 5}}})
    eventually(lambda: _env(world)["MAX_SESSIONS_PER_POD"] == "5", "the new template")
    assert before != "5"
    eventually(lambda: world.status().get("observedGeneration") == 2, "the status of the new generation")
    assert "ChildRepaired" not in world.reasons()


def test_children_go_with_their_pipeline(operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline()
    _created(world, eventually)
    world.delete("MediaPipeline", "studio")
    eventually(lambda: not any(world.get(*child) for child in CHILDREN), "the garbage collector")
    assert world.get("MediaPipeline", "studio") is None


def test_a_pipeline_made_anew_gets_children_of_its_own(operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline()
    _created(world, eventually)
    world.delete("MediaPipeline", "studio")
    uid = world.pipeline()["metadata"]["uid"]

    def all_new() -> bool:
        found = [world.get(*child) for child in CHILDREN]
        return all(one and one["metadata"]["ownerReferences"][0]["uid"] == uid for one in found)

    eventually(all_new, "children of the new pipeline")


@pytest.mark.parametrize("child", CHILDREN, ids="-".join)
def test_a_changed_child_is_repaired_and_foreign_fields_stay(
    child: tuple[str, str], operator: Any, world: Any, eventually: Eventually
) -> None:
    world.pipeline()
    _created(world, eventually)
    eventually(
        lambda: world.status().get("autoscaling"), "a pass that found all children right: only then it is a repair"
    )
    edit = {"labels": {INSTANCE: "somebody-else"}, "annotations": {"example.org/note": "kept"}}
    world.patch(*child, {"metadata": edit})

    def repaired() -> bool:
        meta = world.get(*child)["metadata"]
        return meta["labels"][INSTANCE] == "studio" and meta["annotations"]["example.org/note"] == "kept"

    eventually(repaired, f"{child} to be repaired")
    eventually(lambda: "ChildRepaired" in world.reasons(), "the event")


@pytest.mark.parametrize("child", CHILDREN, ids="-".join)
def test_a_deleted_child_comes_back(child: tuple[str, str], operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline()
    _created(world, eventually)
    uid = world.get(*child)["metadata"]["uid"]
    world.delete(*child)
    eventually(lambda: (found := world.get(*child)) and found["metadata"]["uid"] != uid, f"{child} to come back")
    eventually(lambda: world.get("Deployment", "studio")["spec"]["replicas"] == 2, "the number of replicas")


def test_a_field_that_somebody_removed_comes_back(operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline()
    _created(world, eventually)
    world.patch("Service", "studio", {"metadata": {"labels": {INSTANCE: None}}})
    eventually(lambda: world.get("Service", "studio")["metadata"]["labels"].get(INSTANCE) == "studio", "the label")
    world.patch("Service", "studio", {"metadata": {"labels": {"media.rtcscale.dev/pipeline": None}}})
    eventually(
        lambda: world.get("Service", "studio")["metadata"]["labels"].get("media.rtcscale.dev/pipeline"),
        "the label by which the operator finds its children",
    )


def test_an_ingress_comes_and_goes_with_its_field(operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline(networking={"ingress": {"host": "studio.example.org"}})
    _created(world, eventually)
    eventually(lambda: world.get("Ingress", "studio"), "the Ingress")
    world.patch("MediaPipeline", "studio", {"spec": {"networking": {"ingress": None}}})
    eventually(lambda: world.get("Ingress", "studio") is None, "the Ingress to go")


def test_an_object_that_is_not_ours_is_refused_and_left_alone(
    operator: Any, world: Any, eventually: Eventually
) -> None:
    port = {"port": 80, "name": "web"}
    foreign = {"metadata": {"name": "studio"}, "spec": {"ports": [port], "selector": {"app": "web"}}}
    before = world.create("Service", foreign)
    world.pipeline()
    eventually(lambda: world.condition("Stalled").get("reason") == "ChildRefused", "the refusal")
    assert "Service studio" in world.condition("Stalled")["message"]
    assert world.condition("Degraded")["reason"] == "ChildRefused"
    assert world.condition("Ready")["status"] == "False"
    eventually(lambda: world.get("Deployment", "studio"), "the other children")
    assert world.get("Service", "studio")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    world.delete("Service", "studio")
    eventually(lambda: world.get("Service", "studio"), "our Service")
    eventually(lambda: not world.condition("Stalled"), "no refusal any more")


def test_a_deployment_that_is_not_ours_is_never_adopted(operator: Any, world: Any, eventually: Eventually) -> None:
    """Not even with all our labels: it may be somebody's, kept from an earlier pipeline, with sessions in its pods."""
    labels = {"media.rtcscale.dev/pipeline": "studio", "app.kubernetes.io/managed-by": "mediapipeline-operator"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "example.org/a"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    before = world.create("Deployment", {"metadata": {"name": "studio", "labels": labels}, "spec": spec})
    world.pipeline()
    eventually(lambda: world.condition("Stalled").get("reason") == "ChildRefused", "the refusal")
    message = world.condition("Stalled")["message"]
    assert "Deployment studio exists already and this pipeline does not own it" in message
    assert "rename the pipeline, or delete that object" in message
    assert world.condition("Ready")["status"] == "False"
    eventually(lambda: world.get("Service", "studio"), "the other children")
    after = world.get("Deployment", "studio")
    assert after["spec"] == before["spec"]
    assert "ownerReferences" not in after["metadata"]
    world.delete("MediaPipeline", "studio")
    eventually(lambda: world.get("Service", "studio") is None, "the garbage collector")
    assert world.get("Deployment", "studio")["metadata"]["uid"] == before["metadata"]["uid"]


def test_an_unknown_effect_stalls_and_touches_nothing(operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline()
    _created(world, eventually)
    eventually(lambda: world.status().get("replicas") == 2, "both replicas")
    before = world.get("Deployment", "studio")["metadata"]["generation"]
    stages = [{"name": "soften", "effect": "GausianBlur"}]
    world.patch("MediaPipeline", "studio", {"spec": {"pipeline": {"stages": stages}}})
    eventually(lambda: world.condition("Stalled").get("reason") == "InvalidPipeline", "the refusal")
    stalled, ready = world.condition("Stalled"), world.condition("Ready")
    assert "spec.pipeline.stages[0].effect" in stalled["message"]
    assert "GaussianBlur" in stalled["message"]  # what is allowed
    assert (ready["status"], ready["reason"]) == ("False", "InvalidPipeline")
    assert world.status()["observedGeneration"] == 2
    assert world.get("Deployment", "studio")["metadata"]["generation"] == before
    eventually(lambda: "InvalidPipeline" in world.reasons(), "the event")
    good = [{"name": "soften", "effect": "GaussianBlur"}]
    world.patch("MediaPipeline", "studio", {"spec": {"pipeline": {"stages": good}}})
    eventually(lambda: not world.condition("Stalled"), "recovery")


def test_nothing_is_written_while_paused(operator: Any, world: Any, eventually: Eventually) -> None:
    world.pipeline()
    _created(world, eventually)
    world.patch("MediaPipeline", "studio", {"spec": {"paused": True}})
    eventually(lambda: world.condition("Paused").get("status") == "True", "the condition")
    world.patch("Service", "studio", {"metadata": {"labels": {INSTANCE: "somebody-else"}}})
    version = world.get("Service", "studio")["metadata"]["resourceVersion"]
    world.patch("MediaPipeline", "studio", {"spec": {"sessions": {"maxPerReplica": 5}}})
    eventually(lambda: world.status().get("observedGeneration") == 3, "the pass after the edit")
    assert world.condition("Ready")["reason"] == "Paused"
    assert "Deployment studio" in world.condition("Ready")["message"]
    assert world.get("Service", "studio")["metadata"]["resourceVersion"] == version
    world.patch("MediaPipeline", "studio", {"spec": {"paused": False}})
    eventually(lambda: world.get("Service", "studio")["metadata"]["labels"][INSTANCE] == "studio", "the repair")
