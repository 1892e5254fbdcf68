"""The Node and Lease objects. No I/O and no clock."""

import platform
from datetime import datetime

from devcluster.node.json_types import Json
from devcluster.node.settings import HOST_IP, NodeSettings
from devcluster.node.status import format_time

ANNOTATION_PROCESS_NODE = "devcluster.rtcscale.dev/process-node"
ANNOTATION_ISOLATION = "devcluster.rtcscale.dev/isolation"
SIMULATED_GPU = "devcluster.rtcscale.dev/simulated-gpu"
GPU_RESOURCE = "nvidia.com/gpu"
LEASE_SECONDS = 40
AGENT_VERSION = "devcluster"

_HONESTY = (
    "A node of the local cluster: pods run as ordinary processes of this machine, without containers or limits, "
    "and only programs of its image table"
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_HEALTHY = {"MemoryPressure": "KubeletHasSufficientMemory", "DiskPressure": "KubeletHasNoDiskPressure"}


def allocatable(settings: NodeSettings) -> dict[str, str]:
    """What the scheduler may give to pods."""
    resources = {"cpu": settings.cpu, "memory": settings.memory, "pods": str(settings.pods)}
    resources["ephemeral-storage"] = "64Gi"
    if settings.simulated_gpus:
        resources[GPU_RESOURCE] = str(settings.simulated_gpus)
    return resources


def node_metadata(settings: NodeSettings, isolation: str) -> Json:
    """Labels and annotations; ``isolation`` says how containers get their volumes."""
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": settings.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        **settings.labels,
    }
    annotations = {ANNOTATION_PROCESS_NODE: _HONESTY, ANNOTATION_ISOLATION: isolation}
    if settings.simulated_gpus:
        labels[SIMULATED_GPU] = annotations[SIMULATED_GPU] = "true"
    return {"name": settings.name, "labels": labels, "annotations": annotations}


def parse_taint(text: str) -> Json:
    """``key=value:Effect`` or ``key:Effect``. Raises ValueError."""
    head, colon, effect = text.rpartition(":")
    key, _, value = head.partition("=")
    if not colon or not key or effect not in {"NoSchedule", "PreferNoSchedule", "NoExecute"}:
        raise ValueError(f"taint {text!r}: expected key=value:Effect with NoSchedule, PreferNoSchedule or NoExecute")
    return {"key": key, "value": value, "effect": effect}


def node_object(settings: NodeSettings, isolation: str) -> Json:
    """The Node to create."""
    spec: Json = {"taints": [parse_taint(taint) for taint in settings.taints]} if settings.taints else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": node_metadata(settings, isolation), "spec": spec}


def node_status(settings: NodeSettings, now: datetime, ready_since: datetime, *, ready: bool = True) -> Json:
    """The Node's status; ``ready`` is False when the agent is about to end."""
    resources = allocatable(settings)
    return {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [
            {"type": "InternalIP", "address": HOST_IP},
            {"type": "Hostname", "address": settings.name},
        ],
        "conditions": _conditions(now, ready_since, ready=ready),
        "nodeInfo": _node_info(settings),
    }


def _conditions(now: datetime, since: datetime, *, ready: bool) -> list[Json]:
    times = {"lastHeartbeatTime": format_time(now), "lastTransitionTime": format_time(since)}
    healthy = [{"type": kind, "status": "False", "reason": reason, **times} for kind, reason in _HEALTHY.items()]
    reason, message = ("AgentReady", "the node agent runs") if ready else ("AgentStopped", "the node agent has ended")
    state = {"type": "Ready", "status": "True" if ready else "False", "reason": reason, "message": message}
    return [*healthy, {**state, **times}]


def _node_info(settings: NodeSettings) -> Json:
    return {
        "machineID": settings.name,
        "systemUUID": settings.name,
        "bootID": settings.name,
        "kernelVersion": platform.release(),
        "osImage": "local processes, no containers",
        "containerRuntimeVersion": "process://1",
        "kubeletVersion": AGENT_VERSION,
        "kubeProxyVersion": AGENT_VERSION,
        "operatingSystem": "linux",
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
    }


def lease_object(name: str, node_uid: str, now: datetime) -> Json:
    """The node's Lease in kube-node-lease."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
