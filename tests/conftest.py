"""Specs for fuzzing: random, drawn from the CRD's own schema, and lawful by its rules across fields."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mediapipeline_operator.api.model import LATENCY_BUCKETS_MILLISECONDS
from mediapipeline_operator.api.schema import crd

Json = dict[str, Any]
UNHURRIED = (HealthCheck.too_slow,)
settings.register_profile("unhurried", deadline=None, suppress_health_check=UNHURRIED)  # a busy machine is no failure
settings.load_profile("unhurried")
MOST_ITEMS = 2
# Kubernetes' own parts: its schema accepts much that its validation refuses, so these are chosen, not random.
PARTS: dict[str, list[Any]] = {
    "spec.compute.resources": [{}, {"requests": {"cpu": "1500m"}, "limits": {"memory": "3Gi", "cpu": 2}}],
    "spec.imagePullSecrets": [[], [{"name": "registry"}]],
    "spec.scheduling.tolerations": [[], [{"key": "reserved", "operator": "Exists"}]],
    "spec.scheduling.affinity": [
        {},
        {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 5, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}},
        ]}},
    ],
    "spec.scheduling.topologySpreadConstraints": [
        [],
        [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}],
    ],
    "spec.networking.networkPolicy.allowFrom": [
        [],
        [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"namespaceSelector": {"matchLabels": {"team": "web"}}}],
    ],
    "spec.networking.media.advertisedAddresses": [[], ["203.0.113.7"], ["203.0.113.7", "2001:db8::1"]],
    "spec.networking.media.portRange": ["", "50000-50127"],
    "spec.networking.media.turnURIs": [[], ["turn:turn.example.com:3478?transport=udp", "turns:turn.example.com"]],
    "spec.networking.ingress.host": ["studio.example.org"],
    "spec.networking.service.annotations": [{}, {"example.org/note": "yes"}],
    "spec.pod.env": [
        [],
        [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "more", "key": "word"}}}],
    ],
    "spec.pod.volumes": [[{"name": "models", "configMap": {"name": "models"}}]],
    "spec.pod.volumeMounts": [[], [{"name": "models", "mountPath": "/models", "readOnly": True}]],
    "spec.compute.gpu.resourceName": ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb"],
    "spec.autoscaling.latency.query": ["", 'max(own_p95{namespace="media"})'],
    "spec.autoscaling.signals": [
        [],
        [{"type": "CPUUtilization"}],
        [{"type": "GPUUtilization", "target": 90}, {"type": "RequestsPerSecond", "target": 300, "vote": "Drive"}],
    ],
    "spec.autoscaling.schedules": [
        [],
        [{"name": "day", "cron": "0 3 * * *", "timeZone": "Europe/Berlin", "durationSeconds": 86400}],
    ],
    "spec.pipeline.stages": [
        [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}],
        [{"name": "a", "effect": "Grayscale"}, {"name": "b", "effect": "Passthrough", "parameters": {}}],
    ],
}  # fmt: skip


NAMES = st.from_regex(r"\A[a-z]([-a-z0-9]{0,8}[a-z0-9])?\Z")
LABELS = st.dictionaries(st.sampled_from(["team", "example.org/tier", "zone"]), NAMES, max_size=MOST_ITEMS)
DIVERSE = ("labels", "nodeSelector", "annotations")
NAMED = ("Name", "name", "image", "className")


def from_schema(schema: Json, path: str) -> st.SearchStrategy[Any]:
    """Values of a structural schema."""
    if path in PARTS:
        return st.sampled_from(PARTS[path]).map(copy.deepcopy)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 20) | st.integers(0, 100).map(lambda share: f"{share}%")
    if schema["type"] == "object" and path.rpartition(".")[2] in DIVERSE:
        return LABELS
    return OF_TYPE[schema["type"]](schema, path)


def an_object(schema: Json, path: str) -> st.SearchStrategy[Json]:
    fields = {name: from_schema(part, f"{path}.{name}") for name, part in schema.get("properties", {}).items()}
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: fields[name] for name in fields if name in required},
        optional={name: fields[name] for name in fields if name not in required},
    )


def a_list(schema: Json, path: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(from_schema(schema["items"], f"{path}[]"), max_size=MOST_ITEMS)


def an_integer(schema: Json, path: str) -> st.SearchStrategy[int]:
    return st.integers(schema.get("minimum"), schema.get("maximum"))


def a_string(schema: Json, path: str) -> st.SearchStrategy[str]:
    if path.endswith(NAMED):
        return NAMES if schema.get("minLength") else st.just("") | NAMES
    return st.from_regex(schema["pattern"]) if "pattern" in schema else NAMES


OF_TYPE = {
    "object": an_object,
    "array": a_list,
    "integer": an_integer,
    "string": a_string,
    "boolean": lambda schema, path: st.booleans(),
}


def lawful(spec: Json) -> Json:
    """The spec with its fields made to agree by the rules across fields (api/rules)."""
    scaling = spec.setdefault("autoscaling", {})
    latency = scaling.setdefault("latency", {})
    up, down = latency.setdefault("scaleUp", {}), latency.setdefault("scaleDown", {})
    low, high = sorted((_index(up.get("aboveMilliseconds", 100)), _index(down.get("belowMilliseconds", 50))))
    low = min(low, len(LATENCY_BUCKETS_MILLISECONDS) - 2)
    up["aboveMilliseconds"] = LATENCY_BUCKETS_MILLISECONDS[max(high, low + 1)]
    down["belowMilliseconds"] = LATENCY_BUCKETS_MILLISECONDS[low]
    least, most = sorted((scaling.get("minReplicas", 2), scaling.get("maxReplicas", 10)))
    scaling["minReplicas"], scaling["maxReplicas"] = min(least, 5), max(1, most)
    if scaling.get("engine", "Operator") != "Operator":
        scaling["mode"] = "Active"
    _lawful_engine(scaling, latency)
    interval = spec.setdefault("monitoring", {}).get("intervalSeconds", 5)
    up["forSeconds"] = max(up.get("forSeconds", 30), 4 * interval)
    _lawful_hosting(spec)
    return spec


def _lawful_engine(scaling: Json, latency: Json) -> None:
    """A query with its source, and what needs an engine that decides only with one."""
    engine = scaling.get("engine", "Operator")
    if latency.get("source") == "Query" and (engine == "HorizontalPodAutoscaler" or not latency.get("query")):
        latency["source"] = "Request"
    if latency.get("source") != "Query":
        latency.pop("query", None)
    for schedule in scaling.get("schedules", ()):
        schedule["minReplicas"] = schedule["maxReplicas"] = scaling["maxReplicas"]
    if engine == "None":
        scaling.pop("signals", None)
        scaling.pop("schedules", None)


def _index(milliseconds: int) -> int:
    return sum(bound < milliseconds for bound in LATENCY_BUCKETS_MILLISECONDS[:-1])


def _lawful_hosting(spec: Json) -> None:
    compute = spec.setdefault("compute", {})
    device = compute.get("device", "GPU")
    if spec.get("profile") == "Voice" and device == "GPU":
        device = compute["device"] = "CPU"
    for part, needed in (("simulation", "Simulated"), ("gpu", "GPU")):
        if device != needed:
            compute.pop(part, None)
    rollout = spec.setdefault("rollout", {})
    if str(rollout.get("maxUnavailable", 0)) in ("0", "0%"):
        rollout["maxSurge"] = rollout.get("maxSurge", 1) if str(rollout.get("maxSurge", 1)) not in ("0", "0%") else 1
    media = spec.setdefault("networking", {}).setdefault("media", {})
    if media.get("mode") == "HostPort":
        media["portRange"] = "50000-50127"
    if media.get("mode") == "Relay":
        media["turnURIs"] = media.get("turnURIs") or ["turn:turn.example.com"]
        media.pop("portRange", None)
        media.pop("advertisedAddresses", None)
    if media.get("turnURIs"):
        media["turnSecretName"] = media.get("turnSecretName") or "turn"
    else:
        media.pop("turnSecretName", None)
    sessions = spec.setdefault("sessions", {})
    sessions["maxPerReplica"] = min(sessions.get("maxPerReplica", 8), 128)
    spec["replicas"] = min(spec.get("replicas", 2), 6)
    # Mounts name volumes: without them the API server refuses the pod template.
    spec.setdefault("pod", {}).setdefault("volumes", copy.deepcopy(PARTS["spec.pod.volumes"][0]))


@pytest.fixture(scope="session")
def lawful_specs() -> st.SearchStrategy[Json]:
    """Specs that the API server accepts."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return from_schema(schema, "spec").map(lawful)
