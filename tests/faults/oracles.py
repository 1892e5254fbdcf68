"""What must hold after each fault. Each raises OracleError with its number and what it saw."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from faults.rig import Json, Operator, OracleError, Rig, eventually

Counts = Mapping[tuple[str, str], tuple[int, int]]  # (resource, name) -> creates, deletes
_VOLATILE = frozenset({"uid", "resourceVersion", "creationTimestamp", "generation", "time", "selfLink"})
_OURS = frozenset({"mediapipeline-operator", "mediapipeline-status"})
_SERVER_CHOSEN = frozenset({"clusterIP", "clusterIPs"})
_LOG_TROUBLE = re.compile(r"Traceback|pass_failed|\bERROR\b|\bCRITICAL\b|never retrieved|child_differs_after_apply")


def end_state(rig: Rig, name: str) -> Json:
    """O1: the pipeline's children and status, masked for uids, times and what the server chooses."""
    found = {f"{item['kind']} {item['metadata']['name']}": _masked_child(item) for item in rig.world.children(name)}
    pipeline = rig.world.get("MediaPipeline", name)
    found["status"] = _masked_status(pipeline)
    text = json.dumps(found, sort_keys=True).replace(rig.namespace, "NAMESPACE").replace(name, "NAME")
    text = text.replace(pipeline["metadata"]["uid"] if pipeline else "no uid", "UID")  # in the names of owned fields
    masked: Json = json.loads(text)
    return masked


def difference(found: Any, wanted: Any, at: str = "") -> list[str]:
    """The paths at which two states differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(found.keys() | wanted.keys())
        return [line for key in keys for line in difference(found.get(key), wanted.get(key), f"{at}.{key}")]
    return [] if found == wanted else [f"{at}: {str(found)[:200]} instead of {str(wanted)[:200]}"]


def converges(rig: Rig, name: str, wanted: Json, seconds: float = 45.0) -> None:
    """O1, O7 and O12: the state becomes that of the fault-free run, and the status is of the newest generation.

    A `wanted` without a status compares the children alone.
    """
    deadline = time.monotonic() + seconds
    ignored = {"status"} - wanted.keys()
    while differing := difference(_without(end_state(rig, name), ignored), wanted):
        if time.monotonic() > deadline:
            raise OracleError("O1", f"after {seconds:g} s {name} differs: " + "; ".join(differing[:6]))
        time.sleep(0.2)


def _without(state: Json, names: set[str]) -> Json:
    return {key: value for key, value in state.items() if key not in names}


def counts(rig: Rig, name: str) -> Counts:
    """O2: how often operators created and deleted each of the pipeline's objects."""
    creates: Counter[tuple[str, str]] = Counter()
    deletes: Counter[tuple[str, str]] = Counter()
    for one in rig.writes():
        key = (one.resource, one.name.replace(name, "NAME"))
        mine = one.name.startswith(name) and one.resource != "events"
        creates[key] += mine and one.code == 201
        deletes[key] += mine and one.verb == "delete" and one.code == 200
    return {
        key: (creates[key], deletes[key]) for key in creates.keys() | deletes.keys() if creates[key] or deletes[key]
    }


def same_counts(rig: Rig, name: str, wanted: Counts) -> None:
    """O2: no object was created or deleted more often than without the fault."""
    found = counts(rig, name)
    if found != wanted:
        raise OracleError("O2", f"creates and deletes {dict(found)}, without the fault {dict(wanted)}")


def quiet(rig: Rig, seconds: float = 2.0) -> None:
    """O3: nothing is written, or tried to be written, while nothing changes. The first second is for late events."""
    time.sleep(1.0)
    before = len(rig.writes())
    time.sleep(seconds)
    late = [f"{one.verb} {one.resource}/{one.subresource} {one.name}" for one in rig.writes(before)]
    if late:
        raise OracleError("O3", f"{len(late)} writes while nothing changed: {late[:5]}")


def replicas_within(rig: Rig, name: str, least: int, most: int) -> None:
    """O8: each number that was ever written lies within the bounds, and none came with a manifest."""
    for one in rig.writes():
        body = one.body if isinstance(one.body, dict) else {}
        replicas = (body.get("spec") or {}).get("replicas")
        if one.resource != "deployments" or one.name != name or replicas is None or one.code >= 300:
            continue
        if one.subresource != "scale":
            raise OracleError("O8", f"an apply of {name} carried replicas={replicas}")
        if not least <= replicas <= most:
            raise OracleError("O8", f"{name} was set to {replicas} replicas, outside {least} to {most}")


def bystander_untouched(rig: Rig) -> None:
    """O9: nobody else's object was touched."""
    found = rig.world.get("Service", "bystander")
    if found is None or found["metadata"]["resourceVersion"] != rig.bystander["metadata"]["resourceVersion"]:
        raise OracleError("O9", "the bystander's Service was changed or deleted")


def no_orphans(rig: Rig, name: str) -> None:
    """O9: a deleted pipeline leaves nothing behind."""
    left = "children of a deleted pipeline to go: "
    eventually(lambda: not rig.world.children(name), left + name, 60, oracle="O9")


def clean_log(operator: Operator, since: int = 0) -> None:
    """O10: no exception, no error in the log, and the process lives."""
    trouble = _LOG_TROUBLE.search(operator.text(), since)
    if trouble:
        text = operator.text()[max(0, trouble.start() - 200) : trouble.end() + 600]
        raise OracleError("O10", f"in the operator's log: {text}")
    if not operator.alive():
        raise OracleError("O10", f"the operator has ended: {operator.text()[-500:]}")


def one_writer(former: Operator, new: Operator) -> None:
    """O11: after the new leader's first write to an object, no write of the former one to it succeeds."""
    first: dict[tuple[str, str, str], float] = {}
    for record in new.proxy.mutations():
        first.setdefault((record.call.resource, record.call.namespace, record.call.name), record.arrived)
    for record in former.proxy.mutations():
        at = first.get((record.call.resource, record.call.namespace, record.call.name))
        if at is not None and record.arrived > at:
            raise OracleError("O11", f"the former leader's {record.call} succeeded after the new leader's first")


def _masked_child(item: Json) -> Json:
    """Its status is other controllers' work; of managedFields only ours is compared."""
    body = {key: value for key, value in item.items() if key not in ("status", "metadata")}
    meta = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    managed = [entry for entry in item["metadata"].get("managedFields") or () if entry["manager"] in _OURS]
    fields = {f"{entry['manager']} {entry.get('subresource', '')}": entry["fieldsV1"] for entry in managed}
    masked: Json = _mask({**body, "metadata": meta, "fields": fields})
    return masked


def _masked_status(pipeline: Json | None) -> Json:
    """What people read in the status; measured numbers and times move by themselves."""
    if pipeline is None:
        return {}
    status = pipeline.get("status") or {}
    conditions = {item["type"]: [item["status"], item["reason"]] for item in status.get("conditions") or ()}
    plain = ("selector", "image", "replicas", "readyReplicas", "updatedReplicas", "desiredReplicas")
    seen = {item["observedGeneration"] for item in status.get("conditions") or ()} | {status.get("observedGeneration")}
    return {
        **{field: status.get(field) for field in plain},
        "current": seen == {pipeline["metadata"]["generation"]},
        "summary": (status.get("autoscaling") or {}).get("summary"),
        "conditions": conditions,
    }


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in _VOLATILE | _SERVER_CHOSEN}
        return {key: _mask(item) for key, item in kept.items()}
    return [_mask(item) for item in value] if isinstance(value, list) else value
