"""Engine KEDA with the real KEDA operator, its metrics server, a real Prometheus and the real HPA controller."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devcluster.autoscalers import Keda
from devcluster.binaries import KEDA_KINDS, KEDA_PROGRAMS, crd_manifests, ensure
from e2e.exported_load import Load
from e2e.guarded_prometheus import guarded
from e2e.standin_pods import Pod

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
Eventually = Callable[..., Any]
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects"
AUTOSCALING = {"minReplicas": 2, "maxReplicas": 6, "fallback": {"afterSeconds": 45, "replicas": 3}}


@pytest.fixture
def keda(kubeconfig: Path, kubectl: Any, api: httpx.Client, namespace: str, tmp_path: Path) -> Iterator[None]:
    """KEDA, looking after the namespace of the test; its kinds and its API are gone afterwards."""
    server = Keda(tmp_path, ensure(KEDA_PROGRAMS), kubeconfig=kubeconfig, namespace=namespace)
    with server.start(api, lambda text: kubectl("apply", "--server-side", "-f", "-", input=text)):
        yield
        kubectl("-n", namespace, "delete", "scaledobjects", "--all", "--timeout=30s", check=False)
    kubectl("delete", "apiservice", "v1beta1.external.metrics.k8s.io", check=False)
    for plural in KEDA_KINDS:
        kubectl("delete", "-f", str(crd_manifests(plural)), "--wait=false", check=False)


class Fleet:
    """Stands in for the kubelet: every pod that appears gets a mediapod's admin port, with two sessions."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.pods: dict[str, Pod] = {}

    def attend(self) -> None:
        for item in self.world.items("Pod"):
            name = item["metadata"]["name"]
            if name not in self.pods and "deletionTimestamp" not in item["metadata"]:
                self.pods[name] = Pod(self.world, name, 2)

    @property
    def draining(self) -> list[Pod]:
        return [pod for name, pod in self.pods.items() if pod.draining and name.startswith("studio-")]


@pytest.fixture
def fleet(world: Any) -> Iterator[Fleet]:
    made = Fleet(world)
    yield made
    for pod in made.pods.values():
        pod.close()


def numbers(world: Any, name: str = "studio") -> tuple[int, int]:
    """What is asked for, and what is carried out."""
    asked = world.get("MediaPipeline", name)["spec"]["replicas"]
    return asked, world.get("Deployment", name)["spec"]["replicas"]


def choose(world: Any, engine: str) -> None:
    world.patch("MediaPipeline", "studio", {"spec": {"autoscaling": {"engine": engine}}})


def holds(world: Any, fleet: Fleet, expected: tuple[int, int], seconds: float) -> None:
    """The numbers stay what they are for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fleet.attend()
        assert numbers(world) == expected
        time.sleep(1)


def condition(world: Any, kind: str) -> str:
    """Status of a condition of our ScaledObject."""
    conditions = (world.get("ScaledObject", "studio") or {}).get("status", {}).get("conditions") or ()
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")


def careless(world: Any, prometheus: str) -> dict[str, Any]:
    """A ScaledObject as most are written: KEDA's defaults, which take no data for zero; without a window to wait."""
    query = f'mediapod_sessions{{namespace="{world.namespace}",pipeline="studio"}}'
    metadata = {"serverAddress": prometheus, "query": query, "threshold": "1"}
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "careless"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "media.rtcscale.dev/v1alpha1", "kind": "MediaPipeline", "name": "plain"},
            "minReplicaCount": 1,
            "maxReplicaCount": 3,
            "pollingInterval": 5,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
            "triggers": [{"type": "prometheus", "metadata": metadata}],
        },
    }


def test_keda_scales_by_draining_and_an_outage_changes_nothing(
    keda: None,
    load: Load,
    exported: str,
    start_operator: Any,
    world: Any,
    fleet: Fleet,
    api: httpx.Client,
    eventually: Eventually,
) -> None:
    start_operator(f"--prometheus-url={exported}")
    world.pipeline(replicas=4, autoscaling={"engine": "None", **AUTOSCALING})
    world.pipeline(name="plain", replicas=3, autoscaling={"engine": "None"})
    eventually(lambda: len(world.items("Pod")) == 7, "the pods of both", 120)
    fleet.attend()
    eventually(lambda: world.condition("Ready").get("status") == "True", "the pipeline to be ready", 120)
    _handed_over_without_a_jump(world, fleet, eventually)

    api.post(SCALED_OBJECTS.format(world.namespace), json=careless(world, exported)).raise_for_status()
    load.age_seconds = 0.15  # half above the target: six replicas of four
    eventually(
        lambda: fleet.attend() or numbers(world) == (6, 6), "KEDA to ask for more, the operator to carry it out", 240
    )
    eventually(lambda: fleet.attend() or len(fleet.pods) == 9, "the new pods", 120)

    load.reachable = False
    eventually(lambda: condition(world, "Fallback") == "True", "KEDA to fall back", 240)
    holds(world, fleet, (6, 6), 40)
    eventually(lambda: numbers(world, "plain")[0] == 1, "the careless one to take no data for zero", 120)

    load.reachable, load.age_seconds = True, 0.02
    eventually(lambda: condition(world, "Fallback") == "False", "KEDA to see again", 120)
    eventually(lambda: numbers(world)[0] == 5, "KEDA to ask for fewer after five minutes", 480)
    eventually(lambda: fleet.draining, "a drain", 120)
    holds(world, fleet, (5, 6), 10)  # its sessions are not over
    for pod in fleet.draining:
        pod.sessions = 0
    eventually(lambda: numbers(world)[1] == 5, "the drained replica to go", 120)

    before = numbers(world)[1]
    choose(world, "Operator")
    eventually(lambda: world.get("ScaledObject", "studio") is None, "the ScaledObject to go", 90)
    for _ in range(10):
        assert numbers(world)[1] == before
        time.sleep(1)


def _handed_over_without_a_jump(world: Any, fleet: Fleet, eventually: Eventually) -> None:
    """None, HorizontalPodAutoscaler, KEDA: four replicas all the time."""
    choose(world, "HorizontalPodAutoscaler")
    eventually(lambda: world.get("HorizontalPodAutoscaler", "studio"), "the autoscaler", 90)
    assert numbers(world) == (4, 4)
    choose(world, "KEDA")
    eventually(lambda: world.get("ScaledObject", "studio"), "the ScaledObject", 90)
    eventually(lambda: condition(world, "Ready") == "True", "KEDA to accept it", 90)
    eventually(lambda: world.get("HorizontalPodAutoscaler", "keda-hpa-studio"), "KEDA's autoscaler", 120)
    assert world.get("HorizontalPodAutoscaler", "studio") is None
    holds(world, fleet, (4, 4), 10)
    assert world.condition("ConflictingAutoscaler").get("status") != "True"


def _told(world: Any, kubectl: Any, token: str) -> None:
    """By KEDA's administrator: the token in a Secret, and the one object that names it for all ScaledObjects."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus", "namespace": world.namespace}}
    reference = {"parameter": "bearerToken", "name": "prometheus", "key": "token"}
    found = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ClusterTriggerAuthentication",
        "metadata": {"name": "prometheus"},
        "spec": {"secretTargetRef": [reference]},
    }
    text = yaml.safe_dump_all([{**secret, "stringData": {"token": token}}, found])
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)


def test_keda_shows_the_token_that_prometheus_wants(
    keda: None,
    load: Load,
    exported: str,
    start_operator: Any,
    world: Any,
    fleet: Fleet,
    kubectl: Any,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    (tmp_path / "token").write_text("open sesame")
    load.age_seconds = 0.15
    with guarded(exported, "open sesame") as url:
        start_operator(
            f"--prometheus-url={url}",
            f"--prometheus-token-file={tmp_path / 'token'}",
            "--keda-trigger-authentication=prometheus",
        )
        _told(world, kubectl, "yesterday's")
        fallback = {"afterSeconds": 45, "replicas": 2}
        world.pipeline(replicas=2, autoscaling={"engine": "KEDA", **AUTOSCALING, "fallback": fallback})
        eventually(lambda: fleet.attend() or condition(world, "Fallback") == "True", "KEDA to be refused", 240)
        assert numbers(world) == (2, 2)
        _told(world, kubectl, "open sesame")
        eventually(lambda: fleet.attend() or numbers(world)[1] > 2, "KEDA to ask for more", 240)
        assert condition(world, "Fallback") == "False"
