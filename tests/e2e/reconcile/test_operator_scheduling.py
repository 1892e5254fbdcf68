"""Where pods go, by the real scheduler: MIG slices, zones, priority, runtime class; and what admission makes of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

Eventually = Callable[..., Any]
Json = dict[str, Any]
MIG = "nvidia.com/mig-1g.10gb"
NODES, PRIORITIES, RUNTIMES = (
    "/api/v1/nodes",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/node.k8s.io/v1/runtimeclasses",
)


@pytest.fixture
def place(api: httpx.Client) -> Iterator[Callable[[str, Json], None]]:
    """`place(collection, body)`: a cluster-wide object for the time of the test."""
    made: list[str] = []

    def create(collection: str, body: Json) -> None:
        api.post(collection, json=body).raise_for_status()
        made.append(f"{collection}/{body['metadata']['name']}")

    yield create
    for path in reversed(made):
        api.delete(path).raise_for_status()


def node(name: str, zone: str, pool: str) -> Json:
    """A node that offers MIG slices and that nobody else's pods may use. Nothing runs on it."""
    labels = {"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name, "pool": pool}
    taint = {"key": "pool", "value": pool, "effect": "NoSchedule"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [taint]}}


def offer(api: httpx.Client, name: str) -> None:
    resources = {"cpu": "16", "memory": "64Gi", "pods": "20", MIG: "3"}
    headers = {"Content-Type": "application/merge-patch+json"}
    status = {"status": {"capacity": resources, "allocatable": resources}}
    api.patch(f"{NODES}/{name}/status", json=status, headers=headers).raise_for_status()


def see(
    node_name: str, own: str, place: Callable[[str, Json], None], api: httpx.Client, eventually: Eventually
) -> None:
    """Returns when the scheduler knows what the node offers: until then it would put all pods on the others."""
    container = {"name": "a", "image": "example.org/a", "resources": {"requests": {"cpu": "1m"}}}
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node_name},
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "terminationGracePeriodSeconds": 0,  # nobody would confirm that it has ended
    }
    name = f"seen-{node_name}"
    place(f"/api/v1/namespaces/{own}/pods", {"metadata": {"name": name}, "spec": spec})
    pod = f"/api/v1/namespaces/{own}/pods/{name}"
    eventually(lambda: api.get(pod).json()["spec"].get("nodeName"), f"the scheduler to use {node_name}")


def pods_of(world: Any) -> list[Json]:
    """The pipeline's."""
    return [pod for pod in world.items("Pod") if "media.rtcscale.dev/pipeline" in (pod["metadata"].get("labels") or {})]


def test_pods_get_mig_slices_in_all_zones_with_priority_and_runtime_class(
    operator: Any, world: Any, api: httpx.Client, place: Callable[[str, Json], None], eventually: Eventually
) -> None:
    own = world.namespace
    place(PRIORITIES, {"metadata": {"name": f"live-{own}"}, "value": 1000})
    place(RUNTIMES, {"metadata": {"name": f"nvidia-{own}"}, "handler": "nvidia"})
    zones = {f"node-{zone}-{own}": zone for zone in ("a", "b")}
    for name, zone in zones.items():
        place(NODES, node(name, zone, own))
        offer(api, name)
        see(name, own, place, api, eventually)
    world.pipeline(
        compute={"device": "GPU", "gpu": {"resourceName": MIG}},
        scheduling={
            "nodeSelector": {"pool": own},
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": f"live-{own}",
            "runtimeClassName": f"nvidia-{own}",
        },
        autoscaling={"engine": "None"},
        replicas=4,
    )

    def bound() -> list[Json]:
        pods = [pod for pod in pods_of(world) if pod["spec"].get("nodeName")]
        return pods if len(pods) == 4 else []

    pods = eventually(bound, "four pods on nodes")
    assert Counter(zones[pod["spec"]["nodeName"]] for pod in pods) == {"a": 2, "b": 2}
    for pod in pods:
        assert pod["spec"]["priority"] == 1000
        assert pod["spec"]["runtimeClassName"] == f"nvidia-{own}"
        assert pod["spec"]["containers"][0]["resources"]["limits"][MIG] == "1"
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 7}})
    eventually(lambda: len(pods_of(world)) == 7, "seven pods")
    eventually(lambda: any(f"Insufficient {MIG}" in why for why in _waiting(world)), "a pod without a slice")


def _waiting(world: Any) -> list[str]:
    """Why pods have no node."""
    conditions = (one for pod in pods_of(world) for one in pod["status"].get("conditions") or ())
    return [one["message"] for one in conditions if one["type"] == "PodScheduled" and one["status"] == "False"]
