"""What people, controllers and other software do to a pipeline's surroundings. Each is a whole scenario."""

import time
from collections.abc import Callable

from faults.api_faults import expired_watches
from faults.life import EDIT, LEAST, Reference, aftermath, create, edit, new_name
from faults.oracles import clean_log, converges, no_orphans, quiet, same_counts
from faults.proxy import Call, Event
from faults.rig import OracleError, Rig, World, eventually

INSTANCE = "app.kubernetes.io/instance"
NOTE = "example.org/note"
Scenario = Callable[[Rig, Reference], None]


def _created(rig: Rig, reference: Reference) -> str:
    name = new_name()
    create(rig, name)
    converges(rig, name, reference.created)
    return name


def edited_by_hand(rig: Rig, reference: Reference) -> None:
    """A field of ours is changed and one of theirs added on every child: ours comes back, theirs stays."""
    name, log_before = _created(rig, reference), len(rig.operator.text())
    children = [(item["kind"], item["metadata"]["name"]) for item in rig.world.children(name)]
    for child in children:
        change = {"metadata": {"labels": {INSTANCE: "somebody-else"}, "annotations": {NOTE: "kept"}}}
        rig.world.patch(*child, change).raise_for_status()
    rig.world.patch("NetworkPolicy", name, {"spec": {"ingress": []}}).raise_for_status()
    for child in children:
        eventually(lambda child=child: _repaired(rig.world, child, name), f"{child} to be repaired", oracle="O1")
    for child in children:
        rig.world.patch(*child, {"metadata": {"annotations": {NOTE: None}}}).raise_for_status()
    edit(rig, name)
    converges(rig, name, reference.edited)
    aftermath(rig, name, reference, log_before)


def _repaired(world: World, child: tuple[str, str], name: str) -> bool:
    meta = (world.get(*child) or {"metadata": {}})["metadata"]
    ours = (meta.get("labels") or {}).get(INSTANCE) == name
    return ours and (meta.get("annotations") or {}).get(NOTE) == "kept"


def deleted_by_hand(rig: Rig, reference: Reference) -> None:
    """Every child is deleted: each comes back once."""
    name, log_before = _created(rig, reference), len(rig.operator.text())
    for item in rig.world.children(name):
        rig.world.delete(item["kind"], item["metadata"]["name"])
    converges(rig, name, reference.created, 60)
    edit(rig, name)
    converges(rig, name, reference.edited)
    twice = {key: (2 * creates, deletes) for key, (creates, deletes) in reference.counts.items()}
    same_counts(rig, name, twice)
    aftermath(rig, name, reference, log_before, counted=False)


def deleted_in_a_gap(rig: Rig, reference: Reference) -> None:
    """A child is deleted, and a pipeline, while watches are broken; these then end with 410."""
    name, gone = _created(rig, reference), _created(rig, reference)
    log_before = len(rig.operator.text())
    with expired_watches(rig):
        rig.world.delete("Service", f"{name}-pods")
        rig.world.delete("MediaPipeline", gone)
        no_orphans(rig, gone)
    converges(rig, name, reference.created)
    quiet(rig)
    eventually(lambda: _pipelines_known(rig) == 1, "the deleted pipeline to be forgotten", 20, oracle="O9")
    rig.world.delete("MediaPipeline", name)
    no_orphans(rig, name)
    clean_log(rig.operator, log_before)


def _pipelines_known(rig: Rig) -> int:
    text = rig.operator.page("/metrics")
    line = next(line for line in text.splitlines() if line.startswith("mediapipeline_operator_pipelines "))
    return int(float(line.split()[1]))


def recreated(rig: Rig, reference: Reference) -> None:
    """A pipeline is deleted and made anew under its name, and the watch does not tell of the deletion."""
    name, log_before = _created(rig, reference), len(rig.operator.text())

    def no_deletions(call: Call, event: Event) -> list[Event]:
        return [] if call.kopf and event["type"] == "DELETED" else [event]

    with rig.operator.proxy.filter(no_deletions):
        rig.world.delete("MediaPipeline", name)
        create(rig, name)
        converges(rig, name, reference.created, 90)
    quiet(rig)
    rig.world.delete("MediaPipeline", name)
    no_orphans(rig, name)
    clean_log(rig.operator, log_before)


def denied_by_quota(rig: Rig, reference: Reference) -> None:
    """One child is refused by a quota: the rest is there, the condition says why, and it comes when it may."""
    hard = {"count/poddisruptionbudgets.policy": "0"}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    rig.world.create("ResourceQuota", body)
    eventually(lambda: _enforced(rig), "the quota to be enforced", oracle="the suite itself")
    name, log_before = new_name(), len(rig.operator.text())
    create(rig, name)
    eventually(lambda: rig.world.replicas(name) == LEAST, "the rest to be there")
    eventually(lambda: "exceeded quota" in str(rig.world.status(name).get("conditions")), "the reason", oracle="O7")
    rig.world.delete("ResourceQuota", "none")
    converges(rig, name, reference.created, 90)
    edit(rig, name)
    converges(rig, name, reference.edited)
    aftermath(rig, name, reference, log_before)


def _enforced(rig: Rig) -> bool:
    found = rig.world.get("ResourceQuota", "none") or {}
    return bool((found.get("status") or {}).get("hard"))


def foreign_of_the_same_name(rig: Rig, reference: Reference) -> None:
    """An object of somebody else's has the name of a child: it stays as it is, the rest is made."""
    name, log_before = new_name(), len(rig.operator.text())
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "annotations": {NOTE: "mine"}}}
    version = rig.world.create("ServiceAccount", account)["metadata"]["resourceVersion"]
    create(rig, name)
    eventually(lambda: rig.world.replicas(name) == LEAST, "the rest to be there")
    _unchanged(rig, "ServiceAccount", name, version)
    eventually(lambda: "belongs" in (text := str(rig.world.status(name))) or "does not own" in text, "the reason")
    quiet(rig)
    _unchanged(rig, "ServiceAccount", name, version)
    rig.world.delete("MediaPipeline", name)
    eventually(lambda: rig.world.get("Deployment", name) is None, "the children to go", 60, oracle="O9")
    _unchanged(rig, "ServiceAccount", name, version)
    rig.world.delete("ServiceAccount", name)
    clean_log(rig.operator, log_before)


def _unchanged(rig: Rig, kind: str, name: str, version: str) -> None:
    found = rig.world.get(kind, name)
    if found is None or found["metadata"]["resourceVersion"] != version:
        raise OracleError("O9", f"{kind} {name} belongs to somebody else and was changed or deleted")


def replaced_before_the_delete(rig: Rig, reference: Reference) -> None:
    """While a delete is on its way, somebody puts an object of his own in the place of the child."""
    name, log_before = _created(rig, reference), len(rig.operator.text())
    with rig.holding(rig.operator, "ingresses", method="DELETE") as gate:
        rig.world.change(name, EDIT)
        eventually(gate.arrived.is_set, "the delete to be sent", oracle="the suite itself")
        mine = {key: rig.world.get("Ingress", name)[key] for key in ("apiVersion", "kind", "spec")}  # type: ignore[index]
        rig.world.delete("Ingress", name)
        version = rig.world.create("Ingress", mine | {"metadata": {"name": name}})["metadata"]["resourceVersion"]
        gate.open()
        time.sleep(3.0)
    _unchanged(rig, "Ingress", name, version)
    rig.world.delete("Ingress", name)
    converges(rig, name, reference.edited)
    rig.world.delete("MediaPipeline", name)
    no_orphans(rig, name)
    clean_log(rig.operator, log_before)


def namespace_terminating(rig: Rig, reference: Reference) -> None:
    """The namespace ends under a running operator: it stays quiet, and nothing is made in there any more."""
    name = _created(rig, reference)
    before = len(rig.writes())
    rig.world.api.delete(f"/api/v1/namespaces/{rig.namespace}").raise_for_status()
    eventually(lambda: not rig.world.children(name), "the namespace to be emptied", 60, oracle="O9")
    time.sleep(3.0)
    late = [one for one in rig.writes(before) if one.code == 201 and one.resource != "events"]
    if late:
        raise OracleError("O9", f"created in an ending namespace: {[f'{one.resource} {one.name}' for one in late]}")
    if len(rig.writes(before)) > 60:
        raise OracleError("O3", f"{len(rig.writes(before))} attempts to write in an ending namespace")
    clean_log(rig.operator)


def crd_comes_and_goes(rig: Rig, reference: Reference, install: Callable[[], None]) -> None:
    """The MediaPipeline kind is removed, with all pipelines, and comes back."""
    name = _created(rig, reference)
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mediapipelines.media.rtcscale.dev"
    rig.world.api.delete(crd).raise_for_status()
    eventually(lambda: rig.world.api.get(crd).status_code == 404, "the CRD to go", 60, oracle="the suite itself")
    time.sleep(3.0)
    install()
    again = new_name()
    eventually(lambda: _creatable(rig, again), "the kind to be served", 60, oracle="the suite itself")
    converges(rig, again, reference.created, 90)
    quiet(rig)
    rig.world.delete("MediaPipeline", again)
    no_orphans(rig, again)
    rig.plane.restart_component("kube-controller-manager")  # its garbage collector learns the new kind at once
    no_orphans(rig, name)
    clean_log(rig.operator)


def _creatable(rig: Rig, name: str) -> bool:
    try:
        create(rig, name)
    except AssertionError:
        return False
    return True


SCENARIOS: dict[str, Scenario] = {
    "edited_by_hand": edited_by_hand,
    "deleted_by_hand": deleted_by_hand,
    "deleted_in_a_gap": deleted_in_a_gap,
    "recreated": recreated,
    "denied_by_quota": denied_by_quota,
    "foreign_of_the_same_name": foreign_of_the_same_name,
    "replaced_before_the_delete": replaced_before_the_delete,
}
