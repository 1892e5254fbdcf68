"""The environment of a container: sources, order, expansion, missing references."""

import base64

import pytest

from devcluster.node.downward import FieldError, PodFacts
from devcluster.node.environment import (
    MissingReferenceError,
    ObjectKey,
    container_environment,
    referenced_objects,
    text_content,
)
from devcluster.node.variables import expand

POD = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u-1",
        "labels": {"b": "2", "a": "1"},
        "annotations": {"note": 'say "hi"\nthere'},
    },
    "spec": {
        "serviceAccountName": "web",
        "containers": [
            {"name": "web", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}},
            {"name": "side"},
        ],
    },
}
FACTS = PodFacts(POD, "127.64.0.5", "127.0.0.1", "devnode", {"cpu": "4", "memory": "8Gi"})
FIRST, SECOND, SECRET = ObjectKey("ConfigMap", "first"), ObjectKey("ConfigMap", "second"), ObjectKey("Secret", "s")


def resolve(container, contents=None, initial=None):
    return container_environment(container, FACTS, contents or {}, initial or {})


def field(path):
    return {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['a']", "1"),
        ("metadata.labels['missing']", ""),
        ("metadata.labels", 'a="1"\nb="2"'),
        ("metadata.annotations", 'note="say \\"hi\\"\\nthere"'),
        ("spec.nodeName", "devnode"),
        ("spec.serviceAccountName", "web"),
        ("status.podIP", "127.64.0.5"),
        ("status.podIPs", "127.64.0.5"),
        ("status.hostIP", "127.0.0.1"),
    ],
)
def test_field_references(path, value):
    assert resolve({"env": [field(path)]}) == {"X": value}


def test_an_unknown_field_path_is_named():
    with pytest.raises(FieldError, match=r"status\.phase"):
        resolve({"env": [field("status.phase")]})


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"containerName": "web", "resource": "limits.cpu"}, "2"),
        ({"containerName": "web", "resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"containerName": "web", "resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"containerName": "side", "resource": "limits.memory", "divisor": "1Gi"}, "8"),
        ({"containerName": "side", "resource": "requests.cpu"}, "0"),
    ],
)
def test_resource_references(reference, value):
    assert resolve({"env": [{"name": "X", "valueFrom": {"resourceFieldRef": reference}}]}) == {"X": value}


def test_later_sources_win_and_env_wins_over_env_from():
    container = {
        "envFrom": [{"configMapRef": {"name": "first"}}, {"configMapRef": {"name": "second"}}],
        "env": [{"name": "C", "value": "env"}],
    }
    contents = {FIRST: {"A": "1", "B": "1", "C": "1"}, SECOND: {"B": "2", "C": "2"}}
    assert resolve(container, contents, {"A": "image"}) == {"A": "1", "B": "2", "C": "env"}


def test_a_prefix_is_put_before_every_name():
    container = {"envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}]}
    assert resolve(container, {SECRET: {"A": "1"}}) == {"P_A": "1"}


def test_optional_sources_may_be_missing():
    container = {
        "envFrom": [{"configMapRef": {"name": "first", "optional": True}}],
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}],
    }
    assert resolve(container, {FIRST: None, SECRET: None}) == {}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "first"}}]}, 'configmap "first" not found'),
        (
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            "couldn't find key k in Secret s",
        ),
    ],
)
def test_missing_references_are_named(container, message):
    with pytest.raises(MissingReferenceError, match=message):
        resolve(container, {FIRST: None, SECRET: {}})


def test_values_see_what_was_set_before_them():
    container = {
        "env": [
            {"name": "EARLY", "value": "$(LATE)"},
            {"name": "LATE", "value": "x"},
            {"name": "URL", "value": "http://$(LATE):$(PORT)/$$(LATE)"},
        ]
    }
    result = resolve(container, initial={"PORT": "80"})
    assert result["EARLY"] == "$(LATE)"
    assert result["URL"] == "http://x:80/$(LATE)"


@pytest.mark.parametrize(
    ("text", "value"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$A $(B) $", "$A $(B) $"), ("$(A)$(A)", "11"), ("$(", "$(")],
)
def test_expansion(text, value):
    assert expand(text, {"A": "1"}) == value


def test_all_referenced_objects_are_found():
    container = {
        "envFrom": [{"configMapRef": {"name": "first"}}, {"secretRef": {"name": "s"}}],
        "env": [
            {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "second", "key": "k"}}},
            {"name": "Y", "value": "plain"},
        ],
    }
    assert referenced_objects(container) == {FIRST, SECOND, SECRET}


def test_secrets_are_decoded():
    assert text_content("Secret", {"data": {"k": base64.b64encode(b"v").decode()}}) == {"k": "v"}
    assert text_content("ConfigMap", {"data": {"k": "v"}}) == {"k": "v"}
