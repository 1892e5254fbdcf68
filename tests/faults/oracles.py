"""What must hold after each fault. Each raises OracleError with its number and what it saw."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

from devcluster.controlplane import Mutation
from faults.rig import Operator, OracleError, Rig, eventually
from faults.world import Json

Counts = Mapping[tuple[str, str], tuple[int, int]]  # (resource, name) -> creates, deletes
_VOLATILE = frozenset({"uid", "resourceVersion", "creationTimestamp", "generation", "time", "selfLink"})
_OURS = frozenset({"mediapipeline-operator", "mediapipeline-status"})
_SERVER_CHOSEN = frozenset({"clusterIP", "clusterIPs"})
# Without Prometheus these change by themselves when the pipeline is a minute old.
_UNMEASURED = (["True", "Late"], ["True", "Deciding"], ["False", "PrometheusNotConfigured"])
_WARNED_AFTER_SECONDS = 60.0
_REST_SECONDS = 15.0
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


def converges(rig: Rig, name: str, wanted: Json) -> None:
    """O1, O7 and O12: the state becomes that of the fault-free run, and the status is of the newest generation.

    A `wanted` without a status compares the children alone.
    """
    deadline = time.monotonic() + rig.patience_seconds
    ignored = {"status"} - wanted.keys()
    while differing := difference(_without(end_state(rig, name), ignored), wanted):
        if time.monotonic() > deadline:
            raise OracleError("O1", f"after {rig.patience_seconds:g} s {name} differs: " + "; ".join(differing[:6]))
        time.sleep(0.3)


def status_is_good(rig: Rig, name: str) -> bool:
    """Whether the pipeline is Ready in its newest generation, and scaling has said something."""
    status = _masked_status(rig.world.get("MediaPipeline", name))
    ready = (status.get("conditions") or {}).get("Ready", [""])[0] == "True"
    return bool(ready and status["current"] and status["summary"])


@dataclass(frozen=True)
class Moment:
    """From which write of the namespace on, and from when."""

    writes: int
    at: datetime


def moment(rig: Rig) -> Moment:
    return Moment(len(rig.writes()), datetime.now(UTC))


def settled(rig: Rig, seconds: float = 2.0, since: Moment | None = None) -> None:
    """O3, O8, O9, O10 and O11, which hold whenever nothing is going on, whatever has been going on before.

    `since`: when the quiet began, if not now.
    """
    if seconds or since is not None:
        quiet(rig, seconds, since)
    for name, (least, most) in rig.bounds.items():
        replicas_within(rig, name, least, most)
    for former, new in combinations(rig.operators, 2):
        one_writer(former, new)
    bystander_untouched(rig)
    for operator in rig.operators:
        clean_log(operator)


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


def rest(rig: Rig) -> Moment:
    """When the last late event, or line in the audit log, has come: there was no write for a second. Writes that do not
    end are waited for in vain, but not for ever.
    """
    deadline = time.monotonic() + _REST_SECONDS
    while True:
        before = moment(rig)
        time.sleep(1.0)
        if len(rig.writes()) == before.writes or time.monotonic() > deadline:
            return moment(rig)


def quiet(rig: Rig, seconds: float = 2.0, since: Moment | None = None) -> None:
    """O3: nothing is written, or tried to be written, while nothing changes."""
    if since is None:
        since = rest(rig)
    else:
        time.sleep(1.0)
    time.sleep(seconds)
    late = _without_warnings(rig.writes(since.writes), _warned_since(rig, since.at))
    if late:
        what = [f"{one.verb} {one.resource}/{one.subresource} {one.name}" for one in late[:5]]
        raise OracleError("O3", f"{len(late)} writes while nothing changed: {what}")


def _warned_since(rig: Rig, begun: datetime) -> set[str]:
    """Pipelines whose first minute without measurements has ended since then: a condition says so, and an event."""
    minute = timedelta(seconds=_WARNED_AFTER_SECONDS)
    names = set()
    for pipeline in rig.world.items("MediaPipeline"):
        timers = ((pipeline.get("status") or {}).get("autoscaling") or {}).get("timers") or {}
        unknown = datetime.fromisoformat(timers.get("unknownSince") or "1970-01-01T00:00:00Z")
        if begun - timedelta(seconds=2) <= unknown + minute <= datetime.now(UTC) + timedelta(seconds=1):
            names.add(pipeline["metadata"]["name"])
    return names


def _without_warnings(found: list[Mutation], warned: set[str]) -> list[Mutation]:
    """All but one status write for each of these pipelines, and their events."""
    used: set[str] = set()
    kept = []
    for one in found:
        about = one.body["involvedObject"]["name"] if one.resource == "events" else one.name
        is_status = (one.resource, one.subresource) == ("mediapipelines", "status") and about not in used
        if about in warned and (is_status or one.resource == "events"):
            used |= {about} if is_status else set()
        else:
            kept.append(one)
    return kept


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
    eventually(lambda: not rig.world.children(name), left + name, oracle="O9")


def clean_log(operator: Operator) -> None:
    """O10: no exception and no error in the log since it was looked at last, and the process lives."""
    text = operator.unread()
    trouble = _LOG_TROUBLE.search(text)
    if trouble:
        around = text[max(0, trouble.start() - 200) : trouble.end() + 600]
        raise OracleError("O10", f"in the operator's log: {around}")
    if not (operator.ended or operator.alive()):
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
    pairs = ((item["type"], [item["status"], item["reason"]]) for item in status.get("conditions") or ())
    conditions = {kind: "unmeasured" if pair in _UNMEASURED else pair for kind, pair in pairs}
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
