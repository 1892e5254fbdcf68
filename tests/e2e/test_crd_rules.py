"""The CRD on a real API server: each rule accepts and rejects, messages name fields, defaults are the models'."""

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from mediapipeline_operator.api.rules import RULES
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_MILLISECONDS, MediaPipelineSpec

Json = dict[str, Any]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
Eventually = Callable[..., Any]
ROOT = Path(__file__).parents[2]
GROUP = "/apis/media.rtcscale.dev/v1alpha1"


@pytest.fixture(scope="module")
def definition(kubectl: Kubectl, eventually: Eventually) -> None:
    """The CRD of crds/, served."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    listing = ("get", "mediapipelines.media.rtcscale.dev", "--all-namespaces")
    eventually(lambda: kubectl(*listing, check=False).returncode == 0, "the CRD to be served")


@pytest.fixture
def pipelines(definition: None, namespace: str) -> str:
    """Path of the pipelines of a fresh namespace."""
    return f"{GROUP}/namespaces/{namespace}/mediapipelines"


def pipeline(change: Json | None = None, name: str = "studio-blur") -> Json:
    spec: Json = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}]}}
    return {
        "apiVersion": "media.rtcscale.dev/v1alpha1",
        "kind": "MediaPipeline",
        "metadata": {"name": name},
        "spec": merged(spec, change or {}),
    }


def merged(base: Json, change: Json) -> Json:
    """JSON merge patch (RFC 7396), lists replaced."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def create(api: httpx.Client, path: str, obj: Json) -> httpx.Response:
    return api.post(path, json=obj, params={"dryRun": "All", "fieldValidation": "Strict"})


def scaling(**change: Any) -> Json:
    return {"autoscaling": change}


def latency(**change: Any) -> Json:
    return scaling(latency=change)


def schedule(**bounds: int) -> Json:
    return {"name": "day", "cron": "0 8 * * MON-FRI", "durationSeconds": 3600, **bounds}


def media(**change: Any) -> Json:
    return {"networking": {"media": change}}


PORTS = "spec.networking.media.portRange"
BOUNDS = ", ".join(map(str, LATENCY_BUCKETS_MILLISECONDS))
ACCEPTED = {
    "the least": {},
    "min equals max": scaling(minReplicas=10),
    "advisory with Operator": scaling(mode="Advisory"),
    "engine None": scaling(engine="None"),
    "thresholds one bound apart": latency(scaleUp={"aboveMilliseconds": 60}, scaleDown={"belowMilliseconds": 50}),
    "lowest bound": latency(scaleDown={"belowMilliseconds": 5}),
    "highest bound": latency(scaleUp={"aboveMilliseconds": 5000}),
    "simulation with Simulated": {"compute": {"device": "Simulated", "simulation": {}}},
    "Simulated without simulation": {"compute": {"device": "Simulated"}},
    "gpu with GPU": {"compute": {"device": "GPU", "gpu": {"count": 2}}},
    "gpu with the default device": {"compute": {"gpu": {"resourceName": "nvidia.com/mig-1g.10gb"}}},
    "the longest interval": {"monitoring": {"intervalSeconds": 7}},
    "a short window with a short interval": {
        "monitoring": {"intervalSeconds": 1},
        **latency(scaleUp={"forSeconds": 4}),
    },
    "a rollout without surge": {"rollout": {"maxSurge": 0, "maxUnavailable": 1}},
    "percentages": {"rollout": {"maxSurge": "25%", "maxUnavailable": "0%"}},
    "Voice on the CPU": {"profile": "Voice", "compute": {"device": "CPU"}},
    "Voice simulated": {"profile": "Voice", "compute": {"device": "Simulated"}},
    "HostPort with ports": media(mode="HostPort", portRange="50000-50007"),
    "the widest range of HostPort": media(mode="HostPort", portRange="50000-50255"),
    "all ports": media(portRange="10000-65535"),
    "ports up to the admin port": media(portRange="9000-9089"),
    "Relay": media(mode="Relay", turnURIs=["turn:turn.example.com"], turnSecretName="turn"),
    "Relay with servers of all kinds": media(
        mode="Relay",
        turnURIs=[
            "turn:203.0.113.7:3478",
            "turn:[2001:db8::1]:3478?transport=udp",
            "turn:turn.example.com:443?transport=tcp",
            "turns:turn.example.com:5349?transport=tcp",
        ],
        turnSecretName="turn",
    ),
    "TURN servers for clients alone": media(
        turnURIs=["turn:turn.example.com"], turnSecretName="turn", portRange="50000-50063"
    ),
    "an advertised address": media(advertisedAddresses=["203.0.113.7", "2001:db8::1"]),
    "52 characters": {},
    "engine HorizontalPodAutoscaler": scaling(engine="HorizontalPodAutoscaler", signals=[{"type": "CPUUtilization"}]),
    "engine KEDA with a query": scaling(engine="KEDA", latency={"source": "Query", "query": "vector(1)"}),
    "source Request": latency(source="Request"),
    "a query with thresholds between bounds": latency(
        source="Query", query="vector(1)", scaleUp={"aboveMilliseconds": 110}, scaleDown={"belowMilliseconds": 51}
    ),
    "requests over 100": scaling(signals=[{"type": "RequestsPerSecond", "target": 500, "vote": "Drive"}]),
    "100 percent": scaling(signals=[{"type": "GPUUtilization", "target": 100}]),
    "a schedule at the bounds": scaling(schedules=[schedule(minReplicas=2, maxReplicas=10)]),
    "a schedule with one bound": scaling(schedules=[schedule(maxReplicas=5)]),
}
REJECTED = {
    "min above max": (scaling(minReplicas=11), "spec.autoscaling.minReplicas", "must not be above maxReplicas"),
    "advisory without Operator": (
        scaling(engine="None", mode="Advisory"),
        "spec.autoscaling.mode",
        "needs engine Operator",
    ),
    "equal thresholds": (
        latency(scaleUp={"aboveMilliseconds": 50}),
        "spec.autoscaling.latency.scaleDown.belowMilliseconds",
        "must be below scaleUp.aboveMilliseconds",
    ),
    "upper threshold between bounds": (
        latency(scaleUp={"aboveMilliseconds": 110}),
        "spec.autoscaling.latency.scaleUp.aboveMilliseconds",
        BOUNDS,
    ),
    "lower threshold between bounds": (
        latency(scaleDown={"belowMilliseconds": 51}),
        "spec.autoscaling.latency.scaleDown.belowMilliseconds",
        BOUNDS,
    ),
    "simulation with CPU": (
        {"compute": {"device": "CPU", "simulation": {}}},
        "spec.compute.simulation",
        "device Simulated only",
    ),
    "gpu with CPU": ({"compute": {"device": "CPU", "gpu": {}}}, "spec.compute.gpu", "device GPU only"),
    "interval too long for the window": (
        {"monitoring": {"intervalSeconds": 8}},
        "spec.monitoring.intervalSeconds",
        "autoscaling.latency.scaleUp.forSeconds",
    ),
    "Voice with a GPU": ({"profile": "Voice"}, "spec.compute.device", "set compute.device to CPU"),
    "HostPort without ports": (media(mode="HostPort"), PORTS, "HostPort needs portRange"),
    "ports backwards": (media(portRange="50007-50000"), PORTS, "from-to with 1024 <= from <= to <= 65535"),
    "ports too high": (media(portRange="60000-65536"), PORTS, "from-to with 1024 <= from <= to <= 65535"),
    "fewer ports than sessions": (media(portRange="50000-50006"), PORTS, "lower sessions.maxPerReplica"),
    "too many ports on the node": (media(mode="HostPort", portRange="50000-50256"), PORTS, "at most 256 ports"),
    "ports around the admin port": (media(portRange="9000-9099"), PORTS, "must not hold 8080 or 9090"),
    "Relay without servers": (
        media(mode="Relay"),
        "spec.networking.media.turnURIs",
        "mode Relay needs turnURIs: the TURN servers that media go through",
    ),
    "TURN servers without a secret": (
        media(turnURIs=["turn:turn.example.com"]),
        "spec.networking.media.turnSecretName",
        "name the Secret with the key secret",
    ),
    "Relay with ports": (
        media(mode="Relay", turnURIs=["turn:a"], turnSecretName="turn", portRange="50000-50063"),
        "spec.networking.media.mode",
        "remove portRange and advertisedAddresses",
    ),
    "a rollout that cannot begin": (
        {"rollout": {"maxSurge": "0%", "maxUnavailable": 0}},
        "spec.rollout.maxUnavailable",
        "must not both be 0",
    ),
    "a query with another source": (
        latency(query="vector(1)"),
        "spec.autoscaling.latency.query",
        "not allowed with another source",
    ),
    "source Query with a HorizontalPodAutoscaler": (
        scaling(engine="HorizontalPodAutoscaler", latency={"source": "Query", "query": "vector(1)"}),
        "spec.autoscaling.latency.source",
        "cannot run a query",
    ),
    "101 percent": (
        scaling(signals=[{"type": "CPUUtilization", "target": 101}]),
        "spec.autoscaling.signals",
        "at most 100",
    ),
    "signals with engine None": (
        scaling(engine="None", signals=[{"type": "CPUUtilization"}]),
        "spec.autoscaling.signals",
        "signals need an engine that decides",
    ),
    "schedules with engine None": (
        scaling(engine="None", schedules=[schedule(minReplicas=3)]),
        "spec.autoscaling.schedules",
        "schedules need an engine that decides",
    ),
    "a schedule without bounds": (
        scaling(schedules=[schedule()]),
        "spec.autoscaling.schedules",
        "needs minReplicas or maxReplicas",
    ),
    "a schedule above the maximum": (
        scaling(schedules=[schedule(maxReplicas=11)]),
        "spec.autoscaling.schedules",
        "must lie within",
    ),
}
MORE_REJECTED = {  # the same rules, from their other sides
    "a TURN secret without servers": (media(turnSecretName="turn"), "spec.networking.media.turnSecretName"),
    "Relay with advertised addresses": (
        media(mode="Relay", turnURIs=["turn:a"], turnSecretName="turn", advertisedAddresses=["203.0.113.7"]),
        "spec.networking.media.mode",
    ),
    "source Query without a query": (latency(source="Query"), "spec.autoscaling.latency.query"),
    "a schedule below the minimum": (scaling(schedules=[schedule(minReplicas=1)]), "spec.autoscaling.schedules"),
    "a schedule that crosses itself": (
        scaling(schedules=[schedule(minReplicas=5, maxReplicas=4)]),
        "spec.autoscaling.schedules",
    ),
    "a schedule's minimum above the maximum": (
        scaling(schedules=[schedule(minReplicas=11)]),
        "spec.autoscaling.schedules",
    ),
    "a schedule of nine fields": (
        scaling(schedules=[{**schedule(minReplicas=3), "cron": "0 8 * * 1 2 3 4 5"}]),
        "spec.autoscaling.schedules[0].cron",
    ),
    "an advisory HorizontalPodAutoscaler": (
        scaling(engine="HorizontalPodAutoscaler", mode="Advisory"),
        "spec.autoscaling.mode",
    ),
    "a signal twice": (
        scaling(signals=[{"type": "CPUUtilization"}] * 2),
        "spec.autoscaling.signals[1]",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_rules_allow_is_accepted(api: httpx.Client, pipelines: str, case: str) -> None:
    name = "a" * 52 if case == "52 characters" else "studio-blur"
    answer = create(api, pipelines, pipeline(ACCEPTED[case], name))
    assert answer.status_code == 201, answer.json()["message"]


@pytest.mark.parametrize("case", REJECTED)
def test_what_a_rule_forbids_is_rejected_with_the_field_and_the_way_out(
    api: httpx.Client, pipelines: str, case: str
) -> None:
    change, field, words = REJECTED[case]
    answer = create(api, pipelines, pipeline(change)).json()
    assert answer["code"] == 422
    causes = {cause["field"]: cause["message"] for cause in answer["details"]["causes"]}
    assert words in causes[field]


@pytest.mark.parametrize("case", MORE_REJECTED)
def test_rules_reject_from_their_other_sides_too(api: httpx.Client, pipelines: str, case: str) -> None:
    change, field = MORE_REJECTED[case]
    answer = create(api, pipelines, pipeline(change)).json()
    assert answer["code"] == 422
    assert field in {cause["field"] for cause in answer["details"]["causes"]}


@pytest.mark.parametrize("name", ["a" * 53, "1st", "with.dot"])
def test_names_from_which_no_child_can_be_named_are_rejected(api: httpx.Client, pipelines: str, name: str) -> None:
    answer = create(api, pipelines, pipeline(name=name)).json()
    assert "metadata.name must be a DNS label that starts with a letter and has at most 52" in answer["message"]


def test_each_rule_has_a_case_that_it_rejects() -> None:
    tested_below = 3  # the name, the profile, and replicas under engine Operator
    of_one_rule = 1  # ports backwards and too high
    assert len(RULES) == len(REJECTED) - of_one_rule + tested_below


def change(api: httpx.Client, path: str, spec: Json) -> httpx.Response:
    headers = {"Content-Type": "application/merge-patch+json"}
    return api.patch(f"{path}/studio-blur", json={"spec": spec}, headers=headers)


def test_replicas_may_not_change_while_the_operator_decides_them(api: httpx.Client, pipelines: str) -> None:
    api.post(pipelines, json=pipeline()).raise_for_status()
    answer = change(api, pipelines, {"replicas": 3}).json()
    assert answer["code"] == 422
    assert answer["details"]["causes"][0]["field"] == "spec.replicas"
    assert "set autoscaling.engine to None first" in answer["message"]


def test_replicas_may_change_with_the_engine_and_under_engine_none(api: httpx.Client, pipelines: str) -> None:
    api.post(pipelines, json=pipeline()).raise_for_status()
    for spec in (
        {"replicas": 3, "autoscaling": {"engine": "None"}},
        {"replicas": 4},
        {"replicas": 5, "autoscaling": {"engine": "Operator"}},
        {"autoscaling": {"minReplicas": 3}},
    ):
        change(api, pipelines, spec).raise_for_status()


def test_the_profile_is_immutable(api: httpx.Client, pipelines: str) -> None:
    api.post(pipelines, json=pipeline({"compute": {"device": "CPU"}})).raise_for_status()
    change(api, pipelines, {"profile": "Video", "paused": True}).raise_for_status()
    answer = change(api, pipelines, {"profile": "Voice"}).json()
    assert answer["details"]["causes"][0]["field"] == "spec.profile"
    assert "profile is immutable" in answer["message"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"autoscalling": {}}, 'unknown field "spec.autoscalling"'),
        ({"autoscaling": {"latency": {"scaleUp": {"aboveMillis": 1}}}}, "spec.autoscaling.latency.scaleUp.aboveMillis"),
        ({"pod": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}}, "spec.pod.volumes[0].hostPath"),
        ({"sessions": {"maxPerReplica": "many"}}, "spec.sessions.maxPerReplica"),
        ({"sessions": {"maxPerReplica": 0}}, "spec.sessions.maxPerReplica"),
        (
            {"compute": {"device": "TPU"}},
            'spec.compute.device: Unsupported value: "TPU": supported values: "GPU", "CPU"',
        ),
        ({"rollout": {"maxSurge": "some"}}, "spec.rollout.maxSurge"),
        ({"pipeline": {"stages": []}}, "spec.pipeline.stages"),
        (
            {"pipeline": {"stages": [{"name": "a", "effect": "x"}] * 2}},
            'spec.pipeline.stages[1]: Duplicate value: {"name',
        ),
        ({"pod": {"labels": {"team": "not a label"}}}, "spec.pod.labels.team"),
        ({"networking": {"media": {"portRange": "500-600"}}}, "spec.networking.media.portRange"),
        ({"networking": {"media": {"mode": "Mesh"}}}, 'supported values: "PodIP", "HostPort", "Relay"'),
        (media(turnURIs=["stun:stun.example.com"], turnSecretName="turn"), "spec.networking.media.turnURIs[0]"),
        (media(turnURIs=["turns:a.example?transport=udp"], turnSecretName="turn"), "spec.networking.media.turnURIs[0]"),
        (
            {"networking": {"media": {"advertisedAddresses": ["a host"]}}},
            "spec.networking.media.advertisedAddresses[0]",
        ),
    ],
)
def test_a_wrong_field_is_named(api: httpx.Client, pipelines: str, wrong: Json, named: str) -> None:
    answer = create(api, pipelines, pipeline(wrong)).json()
    assert answer["code"] in (400, 422)
    assert named in answer["message"]


def test_the_least_pipeline_gets_the_defaults_of_the_models(api: httpx.Client, pipelines: str) -> None:
    live = create(api, pipelines, pipeline()).raise_for_status().json()["spec"]
    written = MediaPipelineSpec.model_validate(pipeline()["spec"])
    assert live == written.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_parameters_keep_what_the_schema_does_not_know(api: httpx.Client, pipelines: str) -> None:
    stages = [{"name": "a", "effect": "Later", "parameters": {"deep": {"list": [1, "b", None]}, "x": 1.5}}]
    live = create(api, pipelines, pipeline({"pipeline": {"stages": stages}})).raise_for_status().json()
    assert live["spec"]["pipeline"]["stages"] == stages


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_each_example_applies_as_it_stands(kubectl: Kubectl, definition: None, example: Path) -> None:
    documents = [document for document in yaml.safe_load_all(example.read_text()) if document]
    spaces = [document["metadata"]["name"] for document in documents if document["kind"] == "Namespace"]
    for space in spaces:  # a dry run cannot make the namespace that it needs
        kubectl(
            "apply",
            "-f",
            "-",
            input=yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}),
        )
    kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(example))
    kubectl("apply", "--validate=strict", "-f", str(example))
    again = kubectl("apply", "-f", str(example)).stdout
    assert "mediapipeline" in again
    assert "unchanged" in again
    for space in spaces:
        kubectl("delete", "mediapipelines", "--all", "--namespace", space)


def test_scale_works_with_engine_none(api: httpx.Client, kubectl: Kubectl, pipelines: str, namespace: str) -> None:
    api.post(pipelines, json=pipeline(scaling(engine="None"))).raise_for_status()
    kubectl("scale", "mediapipeline", "studio-blur", "--namespace", namespace, "--replicas=5")
    patch_status(api, pipelines, {"replicas": 4, "selector": "media.rtcscale.dev/pipeline=studio-blur"})
    scale = api.get(f"{pipelines}/studio-blur/scale").raise_for_status().json()
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == {"replicas": 4, "selector": "media.rtcscale.dev/pipeline=studio-blur"}


def test_kubectl_scale_fails_with_a_sentence_while_the_operator_decides(
    api: httpx.Client, kubectl: Kubectl, pipelines: str, namespace: str
) -> None:
    api.post(pipelines, json=pipeline()).raise_for_status()
    result = kubectl("scale", "mpl", "studio-blur", "--namespace", namespace, "--replicas=5", check=False)
    assert result.returncode != 0
    assert "replicas is not used with autoscaling.engine Operator" in result.stderr


def patch_status(api: httpx.Client, path: str, status: Json) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = api.patch(f"{path}/studio-blur/status", json={"status": status}, headers=headers)
    answer.raise_for_status()


def test_kubectl_get_prints_the_columns(api: httpx.Client, kubectl: Kubectl, pipelines: str, namespace: str) -> None:
    api.post(pipelines, json=pipeline()).raise_for_status()
    ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": "", "observedGeneration": 1}
    status = {
        "replicas": 3,
        "desiredReplicas": 4,
        "image": "registry/mediapod:1",
        "sessions": {"active": 21, "capacity": 24, "summary": "21/24"},
        "latency": {"p95Milliseconds": 120, "summary": "120ms", "missPerMille": 61},
        "autoscaling": {"summary": "ScalingUp", "dataState": "Fresh"},
        "conditions": [ready | {"lastTransitionTime": "2026-01-02T03:04:05Z"}],
    }
    patch_status(api, pipelines, status)
    table = kubectl("get", "mpl", "--namespace", namespace).stdout.splitlines()
    assert table[0].split() == ["NAME", "READY", "REPLICAS", "DESIRED", "SESSIONS", "P95", "SCALING", "AGE"]
    assert table[1].split()[:-1] == ["studio-blur", "True", "3", "4", "21/24", "120ms", "ScalingUp"]
    wide = kubectl("get", "media", "--namespace", namespace, "--output=wide").stdout.splitlines()
    assert wide[0].split()[8:] == ["DEVICE", "MISS", "DATA", "IMAGE"]
    assert wide[1].split()[8:] == ["GPU", "61", "Fresh", "registry/mediapod:1"]


@pytest.mark.parametrize(
    ("field", "sentences"),
    [
        (
            "spec.networking.media",
            [
                "How media (UDP) reaches the pods. Clients send media to the pod that has their session",
                "Relay: a pod opens no port; it takes an address on a TURN server of turnURIs for each session",
                "enum: PodIP, HostPort, Relay",
                "TURN servers, for example turn:turn.example.com:3478?transport=udp.",
                "the key secret holds the secret shared with them (coturn: static-auth-secret)",
            ],
        ),
        ("spec.autoscaling.latency.scaleUp", ["p95 above this asks for more replicas."]),
        ("status.autoscaling", ["The last decision, with its explanation."]),
    ],
)
def test_kubectl_explains(
    kubectl: Kubectl, definition: None, eventually: Eventually, field: str, sentences: list[str]
) -> None:
    def explained() -> str:
        return kubectl("explain", f"mediapipeline.{field}", check=False).stdout

    # What is explained is published later than the kind is served.
    text = " ".join(eventually(explained, "an explanation").split())
    for sentence in sentences:
        assert sentence in text, text


def test_the_generation_moves_with_the_spec_alone(api: httpx.Client, pipelines: str) -> None:
    api.post(pipelines, json=pipeline()).raise_for_status()
    patch_status(api, pipelines, {"replicas": 1})
    assert api.get(f"{pipelines}/studio-blur").json()["metadata"]["generation"] == 1
    assert change(api, pipelines, {"paused": True}).json()["metadata"]["generation"] == 2
