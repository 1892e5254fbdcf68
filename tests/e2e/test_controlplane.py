"""The control plane is a real one, keeps to itself, and ends with whoever started it."""

import functools
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from devcluster.binaries import crd_manifests
from devcluster.controlplane import ControlPlane, ControlPlaneError, Mutation
from devcluster.controlplane.components import APISERVER, COMPONENTS, ETCD
from devcluster.controlplane.processes import ProcessTable

Eventually = Callable[..., Any]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


def _deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "main", "image": "example.invalid/none"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _items(api: httpx.Client, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get(path).raise_for_status().json()["items"]
    return items


def test_a_deployment_gets_a_replicaset_and_pods(api: httpx.Client, namespace: str, eventually: Eventually) -> None:
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    api.post(f"{apps}/deployments", json=_deployment("web", 2)).raise_for_status()
    pods = eventually(
        lambda: len(found := _items(api, f"/api/v1/namespaces/{namespace}/pods")) == 2 and found, "two pods"
    )
    replica_sets = _items(api, f"{apps}/replicasets")
    assert {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods} == {replica_sets[0]["metadata"]["uid"]}


def test_the_scheduler_says_why_a_pod_is_pending(api: httpx.Client, namespace: str, eventually: Eventually) -> None:
    pod = {"metadata": {"name": "alone"}, "spec": {"containers": [{"name": "main", "image": "example.invalid/none"}]}}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    api.post(pods, json=pod).raise_for_status()

    def reasons() -> list[str]:
        status = api.get(f"{pods}/alone").raise_for_status().json()["status"]
        return [condition.get("reason", "") for condition in status.get("conditions", [])]

    eventually(lambda: "Unschedulable" in reasons(), "the scheduler's verdict")


def test_owned_objects_are_collected(api: httpx.Client, namespace: str, eventually: Eventually) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = api.post(maps, json={"metadata": {"name": "owner"}}).raise_for_status().json()
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    api.post(maps, json={"metadata": {"name": "owned", "ownerReferences": [reference]}}).raise_for_status()
    api.delete(f"{maps}/owner").raise_for_status()
    eventually(lambda: api.get(f"{maps}/owned").status_code == 404, "garbage collection")


def test_rbac_denies_a_service_account_without_rights(
    api: httpx.Client, control_plane: ControlPlane, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    token = api.post(path, json={"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}})
    headers = {"Authorization": f"Bearer {token.raise_for_status().json()['status']['token']}"}
    denied = api.get(f"/api/v1/namespaces/{namespace}/secrets", headers=headers)
    assert denied.status_code == 403
    assert f"system:serviceaccount:{namespace}:default" in denied.json()["message"]


def test_prometheus_user_reads_pods_and_no_secrets(control_plane: ControlPlane, api: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {control_plane.prometheus_token_file.read_text()}"}
    assert api.get("/api/v1/pods", headers=headers).status_code == 200
    assert api.get("/api/v1/secrets", headers=headers).status_code == 403


def test_services_get_loopback_addresses(api: httpx.Client, namespace: str) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    made = api.post(f"/api/v1/namespaces/{namespace}/services", json=service).raise_for_status().json()
    assert ip_address(made["spec"]["clusterIP"]) in ip_network("127.96.0.0/16")


def test_servicemonitor_crd_is_accepted(kubectl: Kubectl, namespace: str, eventually: Eventually) -> None:
    kubectl("apply", "--server-side", "-f", str(crd_manifests("servicemonitors")))
    kubectl("wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com")
    listing = ("get", "servicemonitors", "-n", namespace)
    eventually(lambda: kubectl(*listing, check=False).returncode == 0, "the kind among those that are served")


def test_kubectl_fits_the_server(kubectl: Kubectl) -> None:
    assert "WARNING: version difference" not in kubectl("version").stderr


def test_mutations_are_recorded_with_their_author(
    control_plane: ControlPlane, api: httpx.Client, namespace: str, eventually: Eventually
) -> None:
    before = datetime.now(UTC)
    api.get(f"/api/v1/namespaces/{namespace}/configmaps", headers={"User-Agent": "the-reader"}).raise_for_status()
    body = {"metadata": {"name": "mine"}, "data": {"key": "value"}}
    created = api.post(f"/api/v1/namespaces/{namespace}/configmaps", json=body, headers={"User-Agent": "the-author"})
    created.raise_for_status()

    def of(user_agent: str) -> list[Mutation]:
        return [one for one in control_plane.mutations() if one.user_agent == user_agent and one.time >= before]

    (mine,) = eventually(lambda: of("the-author"), "the line in the log: the answer may come before it")
    assert (mine.verb, mine.resource, mine.namespace, mine.code) == ("create", "configmaps", namespace, 201)
    assert mine.body["data"] == {"key": "value"}
    assert not of("the-reader")


def test_private_files_are_private(control_plane: ControlPlane) -> None:
    private = [control_plane.kubeconfig, control_plane.prometheus_token_file, control_plane.layout.token_file]
    private += list((control_plane.data_dir / "pki").iterdir())
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in private} == {path.name: 0o600 for path in private}


def test_a_folder_in_use_is_refused(control_plane: ControlPlane, binaries: Mapping[str, Path]) -> None:
    second = ControlPlane(control_plane.data_dir, binaries)
    with pytest.raises(ControlPlaneError, match="in use"):
        second.start()
    second.stop()
    control_plane.check()


def _writes(client: httpx.Client, maps: str, name: str) -> bool:
    try:
        return client.post(maps, json={"metadata": {"name": name}}).status_code in (201, 409)
    except httpx.TimeoutException:
        return False


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TimeoutException:
        return False


def test_etcd_can_be_killed_and_comes_back(
    binaries: Mapping[str, Path], tmp_path: Path, eventually: Eventually
) -> None:
    with ControlPlane(tmp_path, binaries) as plane, plane.client() as client:
        maps = "/api/v1/namespaces/default/configmaps"
        client.post(maps, json={"metadata": {"name": "kept"}}).raise_for_status()
        plane.stop_component(ETCD, kill=True)
        with pytest.raises(ControlPlaneError, match="etcd is not running"):
            plane.stop_component(ETCD)
        plane.start_component(ETCD)
        eventually(lambda: _writes(client, maps, "written-after"), "a write after the restart")
        eventually(lambda: _answers(client, f"{maps}/kept"), "what was there before")


def test_a_component_that_cannot_start_is_named_with_its_log(binaries: Mapping[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho the disk is made of cheese\nexit 1\n")
    broken.chmod(0o755)
    plane = ControlPlane(tmp_path / "data", {**binaries, ETCD: broken})
    with pytest.raises(ControlPlaneError, match=r"(?s)etcd has ended.*etcd\.log.*made of cheese"):
        plane.start()
    assert not [record for record in ProcessTable(plane.data_dir).read() if record.alive()]


STARTER = """
import sys, threading
from pathlib import Path
from devcluster.binaries import CONTROL_PLANE, ensure
from devcluster.controlplane import ControlPlane

plane = ControlPlane(Path(sys.argv[1]), ensure(CONTROL_PLANE))
starter = threading.Thread(target=plane.start)  # a short-lived thread: its end must not end the cluster
starter.start()
starter.join()
plane.check()
print("started", flush=True)
sys.stdin.read()
"""


def test_nothing_survives_a_killed_parent(tmp_path: Path, eventually: Eventually) -> None:
    with subprocess.Popen(
        (sys.executable, "-c", STARTER, str(tmp_path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        try:
            assert parent.stdout.readline() == "started\n"
            time.sleep(0.3)
            records = ProcessTable(tmp_path).read()
            assert {record.name for record in records if record.alive()} == set(COMPONENTS)
        finally:
            parent.kill()
    eventually(lambda: not any(record.alive() for record in records), "the end of all components")


def test_commands_up_status_down(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "devcluster.controlplane.cli", *arguments, "--data-dir", str(tmp_path))
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    started = run("up", "--keep")
    try:
        assert started.returncode == 0, started.stderr
        assert f"KUBECONFIG={tmp_path / 'kubeconfig'}" in started.stdout
        assert run("status").returncode == 0
        again = run("up", "--keep")
        assert again.returncode == 1
        assert "in use" in again.stderr
        assert run("status").returncode == 0, "a refused start must not end the running cluster"
    finally:
        stopped = run("down")
    assert APISERVER in stopped.stdout
    assert run("status").returncode == 1


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    command = (sys.executable, "-u", "-m", "devcluster.controlplane.cli", "up", "--data-dir", str(tmp_path))
    # a shell that starts a job in the background has it ignore SIGINT, and children inherit that
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "Ctrl-C ends it" in line:
                break
        os.kill(running.pid, signal.SIGINT)
        running.wait(timeout=120)  # each component may take its time on a busy machine
    assert ProcessTable(tmp_path).read() == []
