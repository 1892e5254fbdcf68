"""When nothing goes on any more in a namespace, and what its operator has written after that."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
STILL_SECONDS = 3.0
PATIENCE = timedelta(seconds=60)  # of the operator with pods that have no node, and with measurements that are missing


@dataclass(frozen=True)
class Moment:
    """From which write of the namespace on, and from when."""

    writes: int
    at: datetime


def settled(world: Any, eventually: Callable[..., Any]) -> Moment:
    """All pods are counted, the scheduler and the autoscalers' controller were heard; then nothing more is to come."""
    eventually(lambda: world.items("MediaPipeline") and _all_counted(world), "all pods in the status")
    eventually(lambda: all(map(_conditions, world.items("HorizontalPodAutoscaler"))), "the autoscalers' controller")
    eventually(lambda: _still(world), "the last write")
    return Moment(len(world.writes()), datetime.now(UTC))


def _conditions(item: Json) -> list[Json]:
    found: list[Json] = (item.get("status") or {}).get("conditions") or []
    return found


def _all_counted(world: Any) -> bool:
    scheduled = all(map(_conditions, world.items("Pod")))
    return scheduled and all(_counted(world, pipeline) for pipeline in world.items("MediaPipeline"))


def _counted(world: Any, pipeline: Json) -> bool:
    """Whether the status says what the Deployment does, and that has come as far as it can: nothing gets ready here."""
    deployment, status = world.get("Deployment", pipeline["metadata"]["name"]), pipeline.get("status") or {}
    if deployment is None or not status.get("autoscaling"):
        return False
    observed = deployment.get("status") or {}
    pods, updated = observed.get("replicas", 0), observed.get("updatedReplicas", 0)
    told = (pods, updated) == (status["replicas"], status["updatedReplicas"])
    current = observed.get("observedGeneration") == deployment["metadata"]["generation"]
    refused = any((one["type"], one["status"]) == ("ReplicaFailure", "True") for one in _conditions(deployment))
    return told and current and (pods == deployment["spec"]["replicas"] or updated < pods or refused)


def _still(world: Any) -> bool:
    before = len(world.writes())
    time.sleep(STILL_SECONDS)
    return bool(len(world.writes()) == before)


def late_writes(world: Any, since: Moment, seconds: float) -> list[str]:
    """What is written from that moment until so many seconds from now, but for what is due when a minute is over: on a
    busy machine that may be at any time in a test.
    """
    time.sleep(seconds)
    left = {name: _minutes_over(world, name, since.at) for name in _names(world)}
    warned: set[str] = set()
    kept = []
    for one in world.writes()[since.writes :]:
        is_status = (one.resource, one.subresource) == ("mediapipelines", "status")
        if is_status and left.get(one.name):
            left[one.name] -= 1
        elif _is_warning(one) and one.body["involvedObject"]["name"] not in warned:
            warned.add(one.body["involvedObject"]["name"])
        else:
            kept.append(f"{one.verb} {one.resource}/{one.subresource} {one.name}")
    return kept


def _names(world: Any) -> list[str]:
    return [pipeline["metadata"]["name"] for pipeline in world.items("MediaPipeline")]


def _is_warning(one: Any) -> bool:
    """The event that says the same as the condition: at most one in five minutes."""
    return one.resource == "events" and one.body["reason"] == "MetricsMissing"


def _minutes_over(world: Any, name: str, begun: datetime) -> int:
    """How many conditions have changed since then because something has lasted for a minute."""
    timers = (world.status(name).get("autoscaling") or {}).get("timers") or {}
    times = [[timers["unknownSince"]]] if "unknownSince" in timers else []
    pods = [pod for pod in world.items("Pod") if pod["metadata"]["labels"].get("media.rtcscale.dev/pipeline") == name]
    times.append([one["lastTransitionTime"] for pod in pods for one in _unscheduled(pod)])
    return sum(bool(found) and _is_over(min(found), begun) for found in times)


def _unscheduled(pod: Json) -> list[Json]:
    return [one for one in _conditions(pod) if (one["type"], one["status"]) == ("PodScheduled", "False")]


def _is_over(text: str, begun: datetime) -> bool:
    """Whether the minute has ended since then; the operator's times are whole seconds."""
    over = datetime.fromisoformat(text) + PATIENCE
    return begun - timedelta(seconds=2) <= over <= datetime.now(UTC) + timedelta(seconds=2)
