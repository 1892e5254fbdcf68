"""Which pods a Service's connections go to."""

import dataclasses

import pytest

from devcluster.node.endpoints import EndpointChoice, PodEndpoint, eligible, headless_ports, service_ports


def pod(name, *, ip="127.64.0.1", ready="True", labels=None, phase="Running", deleting=False, namespace="n"):
    metadata = {"name": name, "namespace": namespace, "labels": labels or {"app": "web"}}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    container = {"ports": [{"name": "http", "containerPort": 8080}]}
    status = {"podIP": ip, "phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
    return PodEndpoint.of({"metadata": metadata, "spec": {"containers": [container]}, "status": status})


def service(**spec):
    spec = {
        "clusterIP": "127.96.0.9",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": "http"}],
        **spec,
    }
    return {"metadata": {"name": "web", "namespace": "n"}, "spec": spec}


PORT = service_ports(service())[0]


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"clusterIP": ""},
        {"selector": None},
        {"type": "ExternalName"},
        {"ports": [{"port": 53, "protocol": "UDP"}]},
    ],
)
def test_services_that_are_not_proxied(spec):
    assert service_ports(service(**spec)) == []


@pytest.mark.parametrize(
    "candidate",
    [
        pod("a", ready="False"),
        pod("a", deleting=True),
        pod("a", ip=""),
        pod("a", labels={"app": "other"}),
        pod("a", namespace="elsewhere"),
        pod("a", phase="Failed"),
    ],
)
def test_pods_that_get_no_connections(candidate):
    assert eligible(PORT, [candidate]) == []


def test_a_headless_service_publishes_its_pods_and_no_other_service_does():
    (port,) = headless_ports(service(clusterIP="None", ports=[{"name": "admin", "port": 80, "targetPort": "http"}]))
    assert port.name == "admin"
    assert eligible(port, [pod("a"), pod("b", ip="127.64.0.2")]) == [("127.64.0.1", 8080), ("127.64.0.2", 8080)]
    assert headless_ports(service()) == []
    assert headless_ports(service(clusterIP="None", selector=None)) == []


def test_named_and_numbered_target_ports():
    assert eligible(PORT, [pod("a")]) == [("127.64.0.1", 8080)]
    numbered = service_ports(service(ports=[{"port": 80, "targetPort": 9000}]))[0]
    assert eligible(numbered, [pod("a")]) == [("127.64.0.1", 9000)]
    same = service_ports(service(ports=[{"port": 80}]))[0]
    assert eligible(same, [pod("a")]) == [("127.64.0.1", 80)]
    unknown = service_ports(service(ports=[{"port": 80, "targetPort": "other"}]))[0]
    assert eligible(unknown, [pod("a")]) == []


def test_not_ready_addresses_are_published_on_demand():
    published = service_ports(service(publishNotReadyAddresses=True))[0]
    assert eligible(published, [pod("a", ready="False")]) == [("127.64.0.1", 8080)]


def test_no_candidate_gives_no_address():
    assert EndpointChoice(lambda found: found[0]).choose(PORT, "127.0.0.1", [], 0) is None


def test_client_affinity_holds_until_its_time_is_over_or_its_pod_is_gone():
    sticky = service_ports(
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}})
    )[0]
    picks = iter([0, 1, 0])
    choice = EndpointChoice(lambda found: found[next(picks)])
    both = [("127.64.0.1", 80), ("127.64.0.2", 80)]
    assert choice.choose(sticky, "c", both, now=0) == both[0]
    assert choice.choose(sticky, "c", both, now=59) == both[0]
    assert choice.choose(sticky, "c", both, now=120) == both[1]
    assert choice.choose(sticky, "c", both[:1], now=121) == both[0]


def test_remembered_clients_are_bounded():
    sticky = dataclasses.replace(PORT, affinity_seconds=60)
    choice = EndpointChoice(lambda found: found[0], limit=3)
    for client in range(10):
        choice.choose(sticky, str(client), [("127.64.0.1", 80)], now=0)
    assert len(choice._sticky) == 3
