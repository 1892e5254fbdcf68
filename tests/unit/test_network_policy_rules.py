"""The NetworkPolicy by what it lets through: evaluated as a network plugin would, for pods, namespaces, ports."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any

import pytest

from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources import BuildSettings, desired

Json = dict[str, Any]
SETTINGS = BuildSettings(
    mediapod_image="example.org/mediapod:1", operator_namespace="operators", monitoring_namespace="watching"
)


@dataclass(frozen=True)
class Source:
    """Where a packet comes from: a pod (labels, namespace) or, with an address alone, somewhere outside."""

    labels: Json = field(default_factory=dict)
    namespace: str = ""
    address: str = "198.51.100.9"


OWN = Source({"media.rtcscale.dev/pipeline": "studio"}, "media")
OTHER_PIPELINE = Source({"media.rtcscale.dev/pipeline": "other"}, "media")
SAME_NAME_ELSEWHERE = Source({"media.rtcscale.dev/pipeline": "studio"}, "elsewhere")
OPERATOR = Source({"app.kubernetes.io/name": "mediapipeline-operator"}, "operators")
NOT_THE_OPERATOR = Source({"app.kubernetes.io/name": "else"}, "operators")
OPERATOR_LOOKALIKE = Source({"app.kubernetes.io/name": "mediapipeline-operator"}, "elsewhere")
PROMETHEUS = Source({"app": "prometheus"}, "watching")
FRONTEND = Source({"app": "frontend"}, "web")
STRANGER = Source({"app": "stranger"}, "elsewhere")
INTERNET = Source()
INSIDERS = (OWN, OPERATOR, PROMETHEUS)
OUTSIDERS = (OTHER_PIPELINE, SAME_NAME_ELSEWHERE, NOT_THE_OPERATOR, OPERATOR_LOOKALIKE, FRONTEND, STRANGER, INTERNET)


def children(networking: Json) -> tuple[Json, ...]:
    spec: Json = {
        "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
        "compute": {"device": "CPU"},
        "networking": networking,
    }
    meta = {"name": "studio", "namespace": "media", "uid": "u", "resourceVersion": "1"}
    return desired(MediaPipeline.from_object({"metadata": meta, "spec": spec}), SETTINGS)


def of_kind(manifests: tuple[Json, ...], kind: str) -> Json:
    return next(manifest for manifest in manifests if manifest["kind"] == kind)


def allows(manifests: tuple[Json, ...], source: Source, protocol: str, port: int) -> bool:
    """The published semantics: any rule, any of its peers (none: everybody), any of its ports (none: all)."""
    policy = of_kind(manifests, "NetworkPolicy")
    pod = of_kind(manifests, "Deployment")["spec"]["template"]
    assert selects(policy["spec"]["podSelector"], pod["metadata"]["labels"])
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    named = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["ports"]}
    return any(
        peer_matches(rule.get("from"), source) and port_matches(rule.get("ports"), protocol, port, named)
        for rule in policy["spec"]["ingress"]
    )


def selects(selector: Json, labels: Json) -> bool:
    assert set(selector) <= {"matchLabels"}, "a selector that this evaluation does not know"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def peer_matches(peers: list[Json] | None, source: Source) -> bool:
    return not peers or any(one_peer_matches(peer, source) for peer in peers)


def one_peer_matches(peer: Json, source: Source) -> bool:
    if "ipBlock" in peer:
        inside = ipaddress.ip_address(source.address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return inside and not source.namespace
    if not source.namespace:
        return False
    namespace_labels = {"kubernetes.io/metadata.name": source.namespace}
    if "namespaceSelector" in peer:
        in_namespace = selects(peer["namespaceSelector"], namespace_labels)
    else:
        in_namespace = source.namespace == "media"
    return in_namespace and selects(peer.get("podSelector", {}), source.labels)


def port_matches(ports: list[Json] | None, protocol: str, port: int, named: dict[str, Json]) -> bool:
    return not ports or any(one_port_matches(entry, protocol, port, named) for entry in ports)


def one_port_matches(entry: Json, protocol: str, port: int, named: dict[str, Json]) -> bool:
    if entry["protocol"] != protocol:
        return False
    if "port" not in entry:
        return True
    if isinstance(entry["port"], str):
        container = named[entry["port"]]
        return bool(container["containerPort"] == port and container["protocol"] == protocol)
    return bool(entry["port"] <= port <= entry.get("endPort", entry["port"]))


MODES: dict[str, Json] = {
    "PodIP": {},
    "PodIP with a range": {"media": {"portRange": "50000-50007"}},
    "HostPort": {"media": {"mode": "HostPort", "portRange": "50000-50007"}},
    "Relay": {"media": {"mode": "Relay", "turnURIs": ["turn:turn.example.com"], "turnSecretName": "turn"}},
}


@pytest.mark.parametrize("mode", MODES)
def test_the_admin_port_is_for_the_operator_monitoring_and_own_pods_alone(mode: str) -> None:
    manifests = children(MODES[mode])
    assert [allows(manifests, source, "TCP", 9090) for source in INSIDERS] == [True] * len(INSIDERS)
    assert [allows(manifests, source, "TCP", 9090) for source in OUTSIDERS] == [False] * len(OUTSIDERS)


@pytest.mark.parametrize("mode", MODES)
def test_everybody_may_signal_by_default_and_nothing_else_is_open(mode: str) -> None:
    manifests = children(MODES[mode])
    for source in (*INSIDERS, *OUTSIDERS):
        assert allows(manifests, source, "TCP", 8080)
        assert not allows(manifests, source, "TCP", 22)
        assert not allows(manifests, source, "SCTP", 8080)


def test_signalling_is_for_those_of_allow_from() -> None:
    peers = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}},
        {"ipBlock": {"cidr": "198.51.100.0/24"}},
    ]
    manifests = children({"networkPolicy": {"allowFrom": peers}})
    assert allows(manifests, FRONTEND, "TCP", 8080)
    assert allows(manifests, INTERNET, "TCP", 8080)
    for source in (STRANGER, OWN, OPERATOR, PROMETHEUS):
        assert not allows(manifests, source, "TCP", 8080)
    assert not allows(manifests, FRONTEND, "TCP", 9090)


@pytest.mark.parametrize(
    ("mode", "inside", "outside"),
    [
        ("PodIP", (1024, 40000, 65535), ()),
        ("PodIP with a range", (50000, 50007), (49999, 50008)),
        ("HostPort", (50000, 50007), (49999, 50008)),
    ],
)
def test_media_comes_from_anywhere_to_the_media_ports_alone(
    mode: str, inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    manifests = children(MODES[mode])
    for source in (INTERNET, STRANGER, OWN):
        assert all(allows(manifests, source, "UDP", port) for port in inside)
        assert not any(allows(manifests, source, "UDP", port) for port in outside)
    assert not allows(manifests, INTERNET, "TCP", 50000)


def test_relayed_media_need_no_way_in_and_the_way_to_the_server_is_not_limited() -> None:
    """What a TURN server sends are answers to its pod, which policies let through; egress no policy of ours limits."""
    manifests = children(MODES["Relay"])
    for source in (*INSIDERS, *OUTSIDERS):
        assert not any(allows(manifests, source, "UDP", port) for port in (1024, 3478, 50000, 65535))
    policy = of_kind(manifests, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress"], "a policy of type Egress would cut the pods off from the TURN server"
    assert "egress" not in policy


def test_media_stays_open_where_signalling_is_limited() -> None:
    """Media comes from the clients' own addresses, signalling perhaps from a gateway."""
    manifests = children({"networkPolicy": {"allowFrom": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}})
    assert allows(manifests, INTERNET, "UDP", 40000)
    assert not allows(manifests, INTERNET, "TCP", 8080)


def test_no_policy_where_it_is_switched_off() -> None:
    assert not [one for one in children({"networkPolicy": {"enabled": False}}) if one["kind"] == "NetworkPolicy"]
