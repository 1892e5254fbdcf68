"""Drift: what counts as a difference between a manifest and the live object, and what does not."""

import copy
from typing import Any

import pytest

from mediapipeline_operator.core.drift import manifest_digest, owned_digest, owns_replicas

MANAGER = "mediapipeline-operator"
CONTAINER = {
    "name": "mediapod",
    "image": "i:1",
    "resources": {"requests": {"cpu": "2000m", "memory": "1Gi"}},
    "env": [{"name": "A", "value": "2000m"}, {"name": "B", "value": ""}],
}
MANIFEST: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "studio", "namespace": "media", "labels": {"l": "1"}},
    "spec": {"strategy": {"maxUnavailable": 0}, "containers": [CONTAINER], "args": ["a", "b"]},
}
FIELDS = {
    "f:metadata": {"f:labels": {"f:l": {}}},
    "f:spec": {
        "f:strategy": {"f:maxUnavailable": {}},
        "f:args": {},
        "f:containers": {
            'k:{"name":"mediapod"}': {
                ".": {},
                "f:name": {},
                "f:image": {},
                "f:resources": {"f:requests": {"f:cpu": {}, "f:memory": {}}},
                "f:env": {
                    'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}},
                    'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}},
                },
            }
        },
    },
}


def _live(**changes: Any) -> dict[str, Any]:
    live = copy.deepcopy(MANIFEST)
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": copy.deepcopy(FIELDS)}
    live["metadata"] |= {"uid": "u", "resourceVersion": "9", "managedFields": [entry]}
    live["status"] = {"replicas": 2}
    return live | changes


def _container(live: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = live["spec"]["containers"][0]
    return container


def _owned(live: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = live["metadata"]["managedFields"][0]["fieldsV1"]
    return fields


def _drifted(live: dict[str, Any], manifest: dict[str, Any] = MANIFEST) -> bool:
    return owned_digest(live, MANAGER) != manifest_digest(manifest)


def test_what_was_applied_has_not_drifted() -> None:
    assert not _drifted(_live())


def test_spellings_of_the_server_are_no_drift() -> None:
    live = _live()
    _container(live)["resources"]["requests"] = {"cpu": "2", "memory": "1024Mi"}
    del _container(live)["env"][1]["value"]  # the server drops the empty string
    assert not _drifted(live)


def test_fields_and_list_items_of_others_are_no_drift() -> None:
    live = _live()
    live["metadata"]["annotations"] = {"note": "theirs"}
    live["spec"]["replicas"] = 5
    live["spec"]["containers"].insert(0, {"name": "sidecar", "image": "s"})
    _container(live)["terminationMessagePath"] = "/dev/termination-log"
    assert not _drifted(live)


def test_a_value_that_only_looks_like_a_quantity_is_compared_as_text() -> None:
    manifest = copy.deepcopy(MANIFEST)
    _container(manifest)["env"][0]["value"] = "2"
    assert _drifted(_live(), manifest)


def test_a_changed_value_is_drift() -> None:
    live = _live()
    _container(live)["image"] = "i:2"
    assert _drifted(live)


def test_a_zero_that_somebody_raised_is_drift() -> None:
    live = _live()
    live["spec"]["strategy"]["maxUnavailable"] = 1
    del _owned(live)["f:spec"]["f:strategy"]  # ownership went with the change
    assert _drifted(live)


def test_a_lost_field_is_drift() -> None:
    live = _live()
    live["metadata"]["labels"] = {}
    del _owned(live)["f:metadata"]["f:labels"]
    assert _drifted(live)


def test_a_field_that_the_manifest_no_longer_has_is_drift() -> None:
    manifest = copy.deepcopy(MANIFEST)
    del manifest["spec"]["args"]
    assert _drifted(_live(), manifest)


def test_the_order_of_arguments_matters() -> None:
    live = _live()
    live["spec"]["args"] = ["b", "a"]
    assert _drifted(live)


@pytest.mark.parametrize("entry", [{"manager": "kubectl"}, {"operation": "Update"}, {"subresource": "status"}], ids=str)
def test_only_our_own_apply_counts(entry: dict[str, str]) -> None:
    live = _live()
    live["metadata"]["managedFields"][0] |= entry
    assert _drifted(live)


def test_replicas_have_an_owner_once_somebody_set_them() -> None:
    live = _live()
    assert not owns_replicas(live)
    live["metadata"]["managedFields"].append(
        {"manager": "x", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    )
    assert owns_replicas(live)


def test_the_order_of_named_items_is_no_difference_and_that_of_others_is_none_either() -> None:
    named = [{"name": "B", "value": "1"}, {"name": "A", "value": "2"}]
    twice = [{"name": "A", "port": 1}, {"name": "A", "port": 2}]
    for items in (named, twice):
        one, other = ({"spec": {"list": order}} for order in (items, items[::-1]))
        assert manifest_digest(one) == manifest_digest(other)
    assert manifest_digest({"spec": {"list": named}}) != manifest_digest({"spec": {"list": named[:1]}})


def test_other_lists_keep_their_order() -> None:
    assert manifest_digest({"spec": {"args": ["a", "b"]}}) != manifest_digest({"spec": {"args": ["b", "a"]}})
