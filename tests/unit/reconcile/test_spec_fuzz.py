"""Random specs from the CRD's own schema: they converge, each field has its effect, and taking it back undoes it."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.schema import crd
from mediapipeline_operator.core.model import ChildRef, ChildState, Memory, Plan, Snapshot
from mediapipeline_operator.core.observed import child_state
from mediapipeline_operator.core.plan import plan
from mediapipeline_operator.core.resources import BuildSettings, autoscaler_kind, desired, initial_replicas
from mediapipeline_operator.core.scaling import schedules
from mediapipeline_operator.core.scaling.state import ScalingState

Json = dict[str, Any]
Live = Callable[[Mapping[str, Any]], Json]
SETTINGS = BuildSettings(mediapod_image="example.org/mediapod:1")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FUZZ = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


class Cluster:
    """One pipeline and its children; carries plans out as the API server would."""

    def __init__(self, as_live: Live) -> None:
        self._as_live = as_live
        self.children: dict[ChildRef, ChildState] = {}
        self.generation = 0

    def converge(self, spec: Json) -> list[Plan]:
        """Passes until nothing is left to do; at most ten."""
        self.generation += 1
        spec = copy.deepcopy(spec)
        passes = [self._pass(spec)]
        while passes[-1].applies or passes[-1].deletes or passes[-1].hand_over is not None:
            assert len(passes) < 10, "no end of writes"
            passes.append(self._pass(spec))
        return passes

    def _pass(self, spec: Json) -> Plan:
        snapshot = Snapshot(
            pipeline=read(spec, self.generation),
            children=dict(self.children),
            pods=(),
            unavailable={},
            signals=None,
            memory=Memory(state=ScalingState()),
            now=NOW,
        )
        planned = plan(snapshot, SETTINGS, tick_seconds=10)
        for apply in planned.applies:
            child = child_state({**self._as_live(apply.manifest), "kind": apply.ref.kind})
            known = self.children.get(apply.ref)
            self.children[apply.ref] = replace(child, deployment=known.deployment) if known else child
        if planned.initial_replicas is not None:
            self._scale(planned.initial_replicas)
        if planned.hand_over is not None:
            spec["replicas"] = planned.hand_over
        for delete in planned.deletes:
            del self.children[delete.ref]
        return planned

    def _scale(self, replicas: int) -> None:
        ref = ChildRef("Deployment", "studio")
        deployment = self.children[ref].deployment
        assert deployment is not None
        scaled = replace(deployment, replicas=replicas, replicas_owned=True)
        self.children[ref] = replace(self.children[ref], deployment=scaled)

    def state(self) -> dict[ChildRef, str]:
        return {ref: child.digest for ref, child in self.children.items()}


def read(spec: Json, generation: int = 1) -> MediaPipeline:
    meta = {"name": "studio", "namespace": "media", "uid": "p-1", "resourceVersion": "1", "generation": generation}
    return MediaPipeline.from_object({"metadata": meta, "spec": copy.deepcopy(spec)})


@FUZZ
@given(data=st.data())
def test_every_lawful_spec_converges_and_stays(data: st.DataObject, lawful_specs: Any, as_live: Live) -> None:
    spec = data.draw(lawful_specs) | {"paused": False}
    cluster = Cluster(as_live)
    passes = cluster.converge(spec)
    assert not passes[0].findings.invalid
    assert passes[0].initial_replicas == initial_replicas(schedules.bounded(read(spec).spec, NOW))
    assert cluster.children.keys() == {
        ChildRef(child["kind"], child["metadata"]["name"]) for child in desired(read(spec), SETTINGS)
    }
    applied = [len(one.applies) for one in passes]
    delegated = autoscaler_kind(read(spec).spec.autoscaling.engine) is not None
    assert sum(count > 0 for count in applied) == 1 + delegated, "what was applied looks different from what is wanted"


@FUZZ
@given(data=st.data())
def test_a_change_and_its_reversal_end_where_they_began(data: st.DataObject, lawful_specs: Any, as_live: Live) -> None:
    first, second = (data.draw(lawful_specs) | {"paused": False} for _ in range(2))
    cluster = Cluster(as_live)
    cluster.converge(first)
    before = cluster.state()
    cluster.converge(second)
    cluster.converge(first)
    assert cluster.state() == before


@FUZZ
@given(data=st.data(), wrong=st.sampled_from([("Nonsense", {}), ("GaussianBlur", {"radius": "wide"})]))
def test_an_invalid_spec_touches_no_child(
    data: st.DataObject, wrong: tuple[str, Json], lawful_specs: Any, as_live: Live
) -> None:
    good = data.draw(lawful_specs) | {"paused": False}
    bad = data.draw(lawful_specs) | {"paused": False}
    bad["pipeline"] = {"stages": [{"name": "wrong", "effect": wrong[0], "parameters": wrong[1]}]}
    cluster = Cluster(as_live)
    cluster.converge(good)
    before = cluster.state()
    for one in cluster.converge(bad):  # one pass, or two where another engine takes the number over
        assert "spec.pipeline.stages[0]" in one.findings.invalid
    assert cluster.state() == before


@FUZZ
@given(data=st.data())
def test_a_paused_pipeline_touches_no_child(data: st.DataObject, lawful_specs: Any, as_live: Live) -> None:
    cluster = Cluster(as_live)
    cluster.converge(data.draw(lawful_specs) | {"paused": False})
    before = cluster.state()
    cluster.converge(data.draw(lawful_specs) | {"paused": True})
    assert cluster.state() == before


# Fields that change no manifest of a child, each with what obeys it instead.
STATUS_ONLY = {
    "paused": "the operator itself; condition Paused",
    "replicas": "written through /scale, never in a manifest",
    "autoscaling": "decisions of the operator: replicas through /scale, drains, status.autoscaling",
}
# What a field needs beside it to matter.
CONTEXT: dict[str, Json] = {
    "compute.gpu": {"compute": {"device": "GPU", "gpu": {}}},
    "compute.simulation": {"compute": {"device": "Simulated", "simulation": {}}},
    "networking.ingress": {"networking": {"ingress": {"host": "before.example.org"}}},
    "pod.volumeMounts": {"pod": {"volumes": [{"name": "models", "configMap": {"name": "models"}}]}},
    "networking.media.turn": {"networking": {"media": {"turnURIs": ["turn:before"], "turnSecretName": "before"}}},
}
# Another value than the default, for fields where the schema alone does not give one.
OTHER: dict[str, Any] = {
    "autoscaling.engine": "None",
    "compute.device": "Simulated",
    "pipeline.stages": [{"name": "other", "effect": "Grayscale"}],
    "compute.resources": {"requests": {"cpu": "3"}},
    "compute.gpu.resourceName": "nvidia.com/mig-1g.10gb",
    "imagePullSecrets": [{"name": "registry"}],
    "scheduling.nodeSelector": {"pool": "media"},
    "scheduling.tolerations": [{"key": "reserved", "operator": "Exists"}],
    "scheduling.affinity": {"nodeAffinity": {}},
    "scheduling.topologySpreadConstraints": [
        {"maxSkew": 3, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "monitoring.serviceMonitor.labels": {"release": "other"},
    "networking.service.annotations": {"example.org/note": "x"},
    "networking.ingress.annotations": {"example.org/note": "x"},
    "networking.media.portRange": "50000-50063",
    "networking.media.advertisedAddresses": ["203.0.113.7"],
    "networking.media.turnURIs": ["turn:turn.example.com"],
    "networking.networkPolicy.allowFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}],
    "security.allowedOrigins": ["https://example.org"],
    "pod.labels": {"team": "video"},
    "pod.annotations": {"example.org/note": "x"},
    "pod.env": [{"name": "A", "value": "1"}],
    "pod.volumes": [{"name": "models", "configMap": {"name": "models"}}],
    "pod.volumeMounts": [{"name": "models", "mountPath": "/models"}],
}
OTHER_MEDIA_MODE = {"networking": {"media": {"mode": "HostPort", "portRange": "50000-50007"}}}
SPEC = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def fields(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every field that has a value of its own: leaves, and the parts that are Kubernetes' own."""
    for name, part in schema["properties"].items():
        here = f"{path}{name}"
        if part["type"] == "object" if "type" in part else False:
            below = part.get("properties")
            if below and here not in OTHER:
                yield from fields(part, f"{here}.")
                continue
        yield here, part


def merged(base: Json, change: Json) -> Json:
    result = copy.deepcopy(base)
    for name, value in change.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both else copy.deepcopy(value)
    return result


def nested(path: str, value: Any) -> Json:
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def other_value(path: str, schema: Json) -> Any:
    if path in OTHER:
        return OTHER[path]
    default = schema.get("default")
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != default)
    if schema.get("x-kubernetes-int-or-string"):
        return "50%"
    if schema["type"] == "integer":
        return (default or schema["minimum"]) + 1
    return not default if schema["type"] == "boolean" else "other"


CHANGED = {path: part for path, part in fields(SPEC) if path.split(".")[0] not in STATUS_ONLY}


def manifests(spec: Json) -> list[Json]:
    return list(desired(read(spec), SETTINGS))


@pytest.mark.parametrize("path", CHANGED)
def test_every_field_shows_in_a_child(path: str) -> None:
    base = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}, "compute": {"device": "CPU"}}
    for prefix, beside in CONTEXT.items():
        base = merged(base, beside) if path.startswith(prefix) else base
    change = OTHER_MEDIA_MODE if path == "networking.media.mode" else nested(path, other_value(path, CHANGED[path]))
    assert manifests(merged(base, change)) != manifests(base)


NOT_SHOWN = {
    path: part
    for path, part in fields(SPEC)
    if path.split(".")[0] in STATUS_ONLY and len(part.get("enum", "some")) > 1 and part.get("type") != "array"
}


@pytest.mark.parametrize("path", NOT_SHOWN)
def test_what_is_listed_as_not_shown_is_not_shown(path: str) -> None:
    """The table above would hide a field that has come to show."""
    base = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}, "compute": {"device": "CPU"}}
    change = nested(path, other_value(path, NOT_SHOWN[path]))
    assert manifests(merged(base, change)) == manifests(base)


def test_memory_of_what_is_wanted_is_dropped_with_the_generation(as_live: Live) -> None:
    """A pass that remembers the last generation's children must not take them for this one's."""
    spec = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}, "compute": {"device": "CPU"}}
    cluster = Cluster(as_live)
    known = cluster.converge(spec)[-1].expected
    memory = Memory(state=ScalingState(), expected=known)
    snapshot = Snapshot(read(spec), dict(cluster.children), (), {}, None, memory, NOW)
    assert plan(snapshot, SETTINGS, tick_seconds=10).expected is known
    newer = replace(snapshot, pipeline=read(merged(spec, {"sessions": {"maxPerReplica": 3}}), generation=2))
    assert [apply.ref.kind for apply in plan(newer, SETTINGS, tick_seconds=10).applies] == ["Deployment"]
