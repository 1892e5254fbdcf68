"""What people, controllers and other software do to a pipeline's surroundings. Each is a whole scenario."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from faults.api_faults import expired_watches
from faults.life import EDIT, LEAST, Reference, aftermath, create, created, edit, new_name, restarted_without_a_write
from faults.oracles import clean_log, converges, no_orphans, same_counts, settled
from faults.proxy import Call, Event
from faults.rig import OracleError, Rig, eventually
from faults.world import World

INSTANCE = "app.kubernetes.io/instance"
NOTE = "example.org/note"
Scenario = Callable[[Rig, Reference], None]


def edited_by_hand(rig: Rig, reference: Reference) -> None:
    """A field of ours is changed and one of theirs added on every child: ours comes back, theirs stays."""
    name = created(rig, reference)
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
    aftermath(rig, reference, name)


def _repaired(world: World, child: tuple[str, str], name: str) -> bool:
    meta = (world.get(*child) or {"metadata": {}})["metadata"]
    ours = (meta.get("labels") or {}).get(INSTANCE) == name
    return ours and (meta.get("annotations") or {}).get(NOTE) == "kept"


def deleted_by_hand(rig: Rig, reference: Reference) -> None:
    """Every child is deleted: each comes back once."""
    name = created(rig, reference)
    for item in rig.world.children(name):
        rig.world.delete(item["kind"], item["metadata"]["name"])
    converges(rig, name, reference.created)
    edit(rig, name)
    converges(rig, name, reference.edited)
    twice = {key: (2 * creates, deletes) for key, (creates, deletes) in reference.counts.items()}
    same_counts(rig, name, twice)
    aftermath(rig, reference, name, counted=False)


def deleted_in_a_gap(rig: Rig, reference: Reference) -> None:
    """A child is deleted, and a pipeline, while watches are broken; these then end with 410."""
    name, lost = new_name(), new_name()
    for one in (name, lost):
        create(rig, one)
    for one in (name, lost):
        converges(rig, one, reference.created)
    with expired_watches(rig):
        rig.world.delete("Service", f"{name}-pods")
        rig.world.delete("MediaPipeline", lost)
        no_orphans(rig, lost)
    converges(rig, name, reference.created)
    eventually(lambda: rig.operator.gauge("pipelines") == 1, "the deleted pipeline to be forgotten", oracle="O9")
    aftermath(rig, reference, name, counted=False)


def recreated(rig: Rig, reference: Reference) -> None:
    """A pipeline is deleted and made anew under its name, and the watch does not tell of the deletion."""
    name = created(rig, reference)

    def no_deletions(call: Call, event: Event) -> list[Event]:
        return [] if call.kopf and event["type"] == "DELETED" else [event]

    with rig.operator.proxy.filter(no_deletions):
        rig.world.delete("MediaPipeline", name)
        create(rig, name)
        converges(rig, name, reference.created)
    aftermath(rig, reference, name, counted=False)


def denied_by_quota(rig: Rig, reference: Reference) -> None:
    """One child is refused by a quota: the rest is there, the condition says why, and it comes when it may."""
    hard = {"count/poddisruptionbudgets.policy": "0"}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    rig.world.create("ResourceQuota", body)
    eventually(lambda: _enforced(rig), "the quota to be enforced", oracle="the suite itself")
    name = new_name()
    create(rig, name)
    eventually(lambda: rig.world.replicas(name) == LEAST, "the rest to be there")
    eventually(lambda: "exceeded quota" in str(rig.world.status(name).get("conditions")), "the reason", oracle="O7")
    rig.world.delete("ResourceQuota", "none")
    converges(rig, name, reference.created)
    edit(rig, name)
    converges(rig, name, reference.edited)
    aftermath(rig, reference, name)


def denied_by_policy(rig: Rig, reference: Reference) -> None:
    """An admission policy refuses to let one child be made, later another one be changed: the condition says so in the
    policy's words, everything else is there, running pods stay as they are, and it comes when it may.
    """
    name = new_name()
    with policy(rig, "services", "!object.metadata.name.endsWith('-pods')", "no headless Services here"):
        create(rig, name)
        eventually(lambda: rig.world.replicas(name) == LEAST, "the rest to be there")
        eventually(lambda: _said(rig, name, "no headless Services here"), "the reason", oracle="O7")
    converges(rig, name, reference.created)
    with policy(rig, "deployments", "object.spec.template == oldObject.spec.template", "no new templates here"):
        version = rig.world.get("Deployment", name)["metadata"]["generation"]  # type: ignore[index]
        edit(rig, name)
        eventually(lambda: _said(rig, name, "no new templates here"), "the reason", oracle="O7")
        eventually(lambda: rig.world.get("Ingress", name) is None, "the rest of the edit")
        if rig.world.get("Deployment", name)["metadata"]["generation"] != version:  # type: ignore[index]
            raise OracleError("O1", "a Deployment whose new template was refused has changed")
    converges(rig, name, reference.edited)
    aftermath(rig, reference, name)


def _said(rig: Rig, name: str, words: str) -> bool:
    return words in str(rig.world.status(name).get("conditions"))


@contextmanager
def policy(rig: Rig, resource: str, expression: str, message: str) -> Iterator[None]:
    """A ValidatingAdmissionPolicy for one resource of this namespace; it holds when the block begins."""
    group, operation = ("apps", "UPDATE") if resource == "deployments" else ("", "CREATE")
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": [operation], "resources": [resource]}
    name = f"{rig.namespace}-{resource}"
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": rig.namespace}}}
    bodies = {
        "validatingadmissionpolicies": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression, "message": message}],
        },
        "validatingadmissionpolicybindings": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": here,
        },
    }
    root = "/apis/admissionregistration.k8s.io/v1"
    for plural, spec in bodies.items():
        body = {"metadata": {"name": name}, "spec": spec}
        rig.world.api.post(f"{root}/{plural}", json=body).raise_for_status()
    try:
        eventually(lambda: _denied(rig, resource, message), "the policy to hold", oracle="the suite itself")
        yield
    finally:
        for plural in bodies:
            rig.world.api.delete(f"{root}/{plural}/{name}").raise_for_status()


def _denied(rig: Rig, resource: str, message: str) -> bool:
    """Tried without carrying it out."""
    if resource == "services":
        body = {"metadata": {"name": "probe-pods"}, "spec": {"ports": [{"port": 80}]}}
        return message in rig.world.api.post(f"{rig.world.path('Service')}?dryRun=All", json=body).text
    name = rig.world.items("Deployment")[0]["metadata"]["name"]
    change = {"spec": {"template": {"metadata": {"annotations": {NOTE: "probe"}}}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    path = f"{rig.world.path('Deployment', name)}?dryRun=All"
    return message in rig.world.api.patch(path, json=change, headers=headers).text


def _enforced(rig: Rig) -> bool:
    found = rig.world.get("ResourceQuota", "none") or {}
    return bool((found.get("status") or {}).get("hard"))


def foreign_of_the_same_name(rig: Rig, reference: Reference) -> None:
    """An object of somebody else's has the name of a child: it stays as it is, the rest is made."""
    name = new_name()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "annotations": {NOTE: "mine"}}}
    version = rig.world.create("ServiceAccount", account)["metadata"]["resourceVersion"]
    create(rig, name)
    eventually(lambda: rig.world.replicas(name) == LEAST, "the rest to be there", rig.patience_seconds)
    _unchanged(rig, "ServiceAccount", name, version)
    eventually(lambda: "does not own it" in str(rig.world.status(name)), "the reason", rig.patience_seconds)
    settled(rig)
    if rig.thorough:
        restarted_without_a_write(rig)
    _unchanged(rig, "ServiceAccount", name, version)
    rig.world.delete("MediaPipeline", name)
    eventually(lambda: rig.world.get("Deployment", name) is None, "the children to go", oracle="O9")
    _unchanged(rig, "ServiceAccount", name, version)
    rig.world.delete("ServiceAccount", name)
    settled(rig, seconds=0.0)


def _unchanged(rig: Rig, kind: str, name: str, version: str) -> None:
    found = rig.world.get(kind, name)
    if found is None or found["metadata"]["resourceVersion"] != version:
        raise OracleError("O9", f"{kind} {name} belongs to somebody else and was changed or deleted")


def replaced_before_the_delete(rig: Rig, reference: Reference) -> None:
    """While a delete is on its way, somebody puts an object of his own in the place of the child."""
    name = created(rig, reference)
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
    aftermath(rig, reference, name, counted=False)


def namespace_terminating(rig: Rig, reference: Reference) -> None:
    """The namespace ends under a running operator: it stays quiet, and nothing is made in there any more."""
    created(rig, reference)
    before = len(rig.writes())
    rig.world.api.delete(f"/api/v1/namespaces/{rig.namespace}").raise_for_status()
    path = f"/api/v1/namespaces/{rig.namespace}"
    eventually(lambda: rig.world.api.get(path).status_code == 404, "the namespace to go", oracle="O9")
    time.sleep(3.0)
    late = rig.writes(before)
    made = [f"{one.resource} {one.name}" for one in late if one.code == 201 and one.resource != "events"]
    if made:
        raise OracleError("O9", f"created in an ending namespace: {made}")
    if len(late) > 60:
        raise OracleError("O3", f"{len(late)} attempts to write in an ending namespace")
    eventually(lambda: rig.operator.gauge("pipelines") == 0, "its pipelines to be forgotten", oracle="O9")
    clean_log(rig.operator)


def crd_comes_and_goes(rig: Rig, reference: Reference, install: Callable[[], None]) -> None:
    """The MediaPipeline kind is removed, with all pipelines, and comes back."""
    name = kind_removed(rig, reference, install)
    edit(rig, name)
    converges(rig, name, reference.edited)
    aftermath(rig, reference, name)


def kind_removed(rig: Rig, reference: Reference, install: Callable[[], None]) -> str:
    """Removes the kind, and a pipeline with it, and brings it back: the name of a new pipeline, as it should be."""
    name = created(rig, reference)
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mediapipelines.media.rtcscale.dev"
    rig.world.api.delete(crd).raise_for_status()
    eventually(lambda: rig.world.api.get(crd).status_code == 404, "the CRD to go", oracle="the suite itself")
    time.sleep(3.0)
    before = len(rig.writes())
    install()
    again = new_name()
    eventually(lambda: _creatable(rig, again), "the kind to be served", oracle="the suite itself")
    converges(rig, again, reference.created)
    if touched := {one.name for one in rig.writes(before) if one.name.startswith(name) and one.code < 300}:
        raise OracleError("O9", f"written for a pipeline that is gone: {touched}")
    rig.plane.restart_component("kube-controller-manager")  # its garbage collector learns the new kind at once
    no_orphans(rig, name)
    return again


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
    "denied_by_policy": denied_by_policy,
    "foreign_of_the_same_name": foreign_of_the_same_name,
    "replaced_before_the_delete": replaced_before_the_delete,
}
