"""A pod's status from the states of its containers, as the kubelet computes it. No I/O and no clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from devcluster.node.container_state import ContainerState, Running, Terminated, Waiting
from devcluster.node.json_types import Json


@dataclass
class PodRuntime:
    """Everything a pod's status is made from."""

    pod_ip: str
    host_ip: str
    started_at: datetime
    restart_policy: str
    containers: list[ContainerState]
    init_containers: list[ContainerState] = field(default_factory=list)
    readiness_gates: Sequence[str] = ()
    ended: bool = False
    """The pod was told to end and all its programs have."""


def format_time(moment: datetime) -> str:
    """RFC 3339 with whole seconds, as metav1.Time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def phase(runtime: PodRuntime) -> str:
    """Pending, Running, Succeeded or Failed (k8s.io/kubernetes pkg/kubelet getPhase)."""
    if any(_failed_for_good(c) for c in runtime.init_containers):
        return "Failed"
    if runtime.ended:
        return "Succeeded" if all(_succeeded(c) for c in runtime.containers) else "Failed"
    if not initialized(runtime) or any(_never_ran(c) for c in runtime.containers):
        return "Pending"
    if not all(isinstance(c.state, Terminated) and c.final for c in runtime.containers):
        return "Running"
    return "Succeeded" if all(_succeeded(c) for c in runtime.containers) else "Failed"


def initialized(runtime: PodRuntime) -> bool:
    """Whether all init containers have done their work."""
    return all(_succeeded(c) for c in runtime.init_containers)


def _never_ran(container: ContainerState) -> bool:
    return isinstance(container.state, Waiting) and container.last is None


def _succeeded(container: ContainerState) -> bool:
    return isinstance(container.state, Terminated) and container.state.exit_code == 0


def _failed_for_good(container: ContainerState) -> bool:
    return container.final and not _succeeded(container)


def pod_status(runtime: PodRuntime, previous: Json, now: datetime) -> Json:
    """The part of ``pod.status`` that a node writes.

    ``previous`` is the status as last seen: it keeps the transition times of unchanged conditions and holds the
    conditions that readiness gates ask for.
    """
    status: Json = {
        "phase": phase(runtime),
        "startTime": format_time(runtime.started_at),
        "hostIP": runtime.host_ip,
        "hostIPs": [{"ip": runtime.host_ip}],
        "containerStatuses": [container_status(c) for c in runtime.containers],
        "conditions": _conditions(runtime, previous, now),
    }
    if runtime.pod_ip:
        status |= {"podIP": runtime.pod_ip, "podIPs": [{"ip": runtime.pod_ip}]}
    if runtime.init_containers:
        status["initContainerStatuses"] = [container_status(c, init=True) for c in runtime.init_containers]
    return status


def container_status(container: ContainerState, *, init: bool = False) -> Json:
    """One entry of containerStatuses."""
    result: Json = {
        "name": container.name,
        "image": container.image,
        "imageID": container.image,
        "restartCount": container.restart_count,
        "ready": _succeeded(container) if init else container.ready,
        "started": container.started,
        "state": _state(container.state),
        "lastState": _state(container.last) if container.last else {},
    }
    if container.container_id:
        result["containerID"] = container.container_id
    return result


def _state(state: Waiting | Running | Terminated) -> Json:
    if isinstance(state, Running):
        return {"running": {"startedAt": format_time(state.started_at)}}
    if isinstance(state, Waiting):
        return {"waiting": {"reason": state.reason} | ({"message": state.message} if state.message else {})}
    fields: Json = {
        "exitCode": state.exit_code,
        "reason": state.reason,
        "startedAt": format_time(state.started_at),
        "finishedAt": format_time(state.finished_at),
    }
    optional = {"message": state.message, "containerID": state.container_id}
    return {"terminated": fields | {key: value for key, value in optional.items() if value}}


def _conditions(runtime: PodRuntime, previous: Json, now: datetime) -> list[Json]:
    before = {condition["type"]: condition for condition in previous.get("conditions") or ()}
    wanted = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "PodReadyToStartContainers", "status": "True" if runtime.pod_ip else "False"},
        _initialized_condition(runtime),
        _containers_ready_condition(runtime),
        _ready_condition(runtime, before),
    ]
    return [_with_transition(condition, before.get(condition["type"]), now) for condition in wanted]


def _with_transition(condition: Json, before: Json | None, now: datetime) -> Json:
    unchanged = before is not None and before["status"] == condition["status"] and before.get("lastTransitionTime")
    return condition | {"lastTransitionTime": unchanged or format_time(now)}


def _initialized_condition(runtime: PodRuntime) -> Json:
    missing = [c.name for c in runtime.init_containers if not _succeeded(c)]
    if not missing:
        return {"type": "Initialized", "status": "True"}
    message = f"containers with incomplete status: [{' '.join(missing)}]"
    return {"type": "Initialized", "status": "False", "reason": "ContainersNotInitialized", "message": message}


def _containers_ready_condition(runtime: PodRuntime) -> Json:
    unready = [c.name for c in runtime.containers if not c.ready]
    if not unready:
        return {"type": "ContainersReady", "status": "True"}
    if phase(runtime) in {"Succeeded", "Failed"}:
        reason = "PodCompleted" if phase(runtime) == "Succeeded" else "PodFailed"
        return {"type": "ContainersReady", "status": "False", "reason": reason}
    message = f"containers with unready status: [{' '.join(unready)}]"
    return {"type": "ContainersReady", "status": "False", "reason": "ContainersNotReady", "message": message}


def _ready_condition(runtime: PodRuntime, before: dict[str, Json]) -> Json:
    containers_ready = _containers_ready_condition(runtime)
    if containers_ready["status"] == "False":
        return containers_ready | {"type": "Ready"}
    closed = [gate for gate in runtime.readiness_gates if before.get(gate, {}).get("status") != "True"]
    if closed:
        message = "; ".join(f'corresponding condition of pod readiness gate "{gate}" is not "True".' for gate in closed)
        return {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": message}
    return {"type": "Ready", "status": "True"}
