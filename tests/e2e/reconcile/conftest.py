"""The operator as a real process against the real API server, in a namespace and with a Lease of its own for each
test.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devcluster.binaries import crd_manifests, ensure
from devcluster.controlplane import ControlPlane, Mutation
from devcluster.controlplane.addresses import free_port
from e2e.exported_load import Load, target
from e2e.real_prometheus import running
from faults.rig import LEASE
from faults.rig import World as Administrator

Json = dict[str, Any]
CRD_FILE = Path(__file__).parents[3] / "crds" / "media.rtcscale.dev_mediapipelines.yaml"
CHART = Path(__file__).parents[3] / "charts/mediapipeline-operator"
ANYWHERE = "any-namespace"  # stands in the rendered chart for the test's own
RBAC = "/apis/rbac.authorization.k8s.io/v1"
RIGHTS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": f"{RBAC}/namespaces/{{}}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{{}}/rolebindings",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
}
LATE_RIGHTS = [  # one of each role
    {"verb": "create", "group": "coordination.k8s.io", "resource": "leases"},
    {"verb": "list", "group": "apiextensions.k8s.io", "resource": "customresourcedefinitions"},
    {"verb": "patch", "group": "media.rtcscale.dev", "resource": "mediapipelines", "subresource": "status"},
]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: it speaks plain HTTP, loading CAs takes long
MORE_COLLECTIONS = {
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects",
}


class Operator:
    """One running process of the operator."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path, port: int) -> None:
        self.log = log
        self.port = port
        with log.open("w") as out:
            self.process = subprocess.Popen(command, env=dict(environment), stdout=out, stderr=subprocess.STDOUT)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)

    def leads(self) -> bool:
        return "leadership_acquired" in self.log.read_text()

    def has_decided(self) -> bool:
        """Whether it has looked at a pipeline's scaling."""
        try:
            return "mediapipeline_autoscaler_desired_replicas{" in self._ask("/metrics").text
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> int:
        """HTTP status of the health server."""
        try:
            return self._ask(path).status_code
        except httpx.HTTPError:
            return 0

    def _ask(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5, trust_env=False, verify=PLAIN)


class World(Administrator):
    """What a test reads and writes: one namespace of the cluster, as the administrator."""

    def __init__(self, api: httpx.Client, namespace: str, plane: ControlPlane) -> None:
        super().__init__(api, namespace)
        self._plane = plane

    def path(self, kind: str, name: str = "") -> str:
        if kind not in MORE_COLLECTIONS:
            return super().path(kind, name)
        return MORE_COLLECTIONS[kind].format(self.namespace) + (f"/{name}" if name else "")

    def patch(self, kind: str, name: str, body: Json, subresource: str = "") -> Json:
        """A merge patch."""
        response = super().patch(kind, name, body, subresource)
        assert response.status_code == 200, response.text
        patched: Json = response.json()
        return patched

    def pipeline(self, name: str = "studio", **spec: Any) -> Json:
        """Creates a MediaPipeline with one blur stage and `spec`."""
        stage = {"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}
        body = {
            "apiVersion": "media.rtcscale.dev/v1alpha1",
            "kind": "MediaPipeline",
            "metadata": {"name": name},
            "spec": {"pipeline": {"stages": [stage]}, "compute": {"device": "CPU"}, **spec},
        }
        return self.create("MediaPipeline", body)

    def status(self, name: str = "studio") -> Json:
        found = self.get("MediaPipeline", name)
        status: Json = (found or {}).get("status") or {}
        return status

    def condition(self, kind: str, name: str = "studio") -> Json:
        """A condition, {} without it."""
        conditions = self.status(name).get("conditions") or ()
        return next((item for item in conditions if item["type"] == kind), {})

    def reasons(self) -> list[str]:
        """Reasons of all events about MediaPipelines."""
        return [item["reason"] for item in self.items("Event") if item["involvedObject"]["kind"] == "MediaPipeline"]

    def hand_over(self) -> None:
        """Frees the Lease of a killed operator, so that the next one need not wait until it has run out."""
        self.patch("Lease", LEASE, {"spec": {"holderIdentity": ""}})

    def lease_updates(self) -> list[Json]:
        """Each spec that the operators' Lease has had, oldest first."""
        ours = (one for one in self._plane.mutations() if (one.namespace, one.resource) == (self.namespace, "leases"))
        return [one.body["spec"] for one in ours if one.code < 300 and one.verb in ("create", "update")]

    def make_ready(self) -> None:
        """As the kubelet reports."""
        for pod in self.items("Pod"):
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]}
            self.patch("Pod", pod["metadata"]["name"], {"status": status}, "status")

    def writes(self) -> list[Mutation]:
        """Everything that an operator has changed here, its Lease apart."""
        return [
            one
            for one in self._plane.mutations()
            if one.namespace == self.namespace
            and ("mediapipeline-operator" in one.user_agent or "kopf" in one.user_agent)
            and one.resource != "leases"
        ]


def _crd(api: httpx.Client, body: Json, eventually: Callable[..., Any]) -> None:
    path = f"{CRDS}/{body['metadata']['name']}"
    response = api.patch(
        path,
        params={"fieldManager": "tests", "force": "true"},
        content=yaml.safe_dump(body),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert response.status_code in (200, 201), response.text
    eventually(lambda: "Established" in _true_conditions(api, path), f"the CRD {body['metadata']['name']}")


def _true_conditions(api: httpx.Client, path: str) -> set[str]:
    status = api.get(path).json().get("status") or {}
    return {item["type"] for item in status.get("conditions") or () if item["status"] == "True"}


@pytest.fixture(scope="session")
def mediapipeline_crd(control_plane: ControlPlane, eventually: Callable[..., Any]) -> None:
    with control_plane.client() as api:
        _crd(api, yaml.safe_load(CRD_FILE.read_text()), eventually)


@pytest.fixture(scope="session")
def service_monitor_manifest() -> Json:
    body: Json = yaml.safe_load(crd_manifests("servicemonitors").read_text())
    return body


@pytest.fixture
def service_monitors(
    api: httpx.Client, service_monitor_manifest: Json, eventually: Callable[..., Any]
) -> Callable[[bool], None]:
    """`service_monitors(True)` makes the cluster have the kind, False makes it lack it."""

    def set_presence(present: bool) -> None:
        path = f"{CRDS}/{service_monitor_manifest['metadata']['name']}"
        if present:
            _crd(api, service_monitor_manifest, eventually)
        else:
            api.delete(path)
            eventually(lambda: api.get(path).status_code == 404, "the CRD to go")

    return set_presence


@pytest.fixture
def world(api: httpx.Client, namespace: str, control_plane: ControlPlane, mediapipeline_crd: None) -> World:
    return World(api, namespace, control_plane)


@pytest.fixture
def load() -> Load:
    """What the pods of pipeline `studio` export."""
    return Load()


@pytest.fixture
def exported(load: Load, world: World, binaries: Mapping[str, Path], tmp_path: Path) -> Iterator[str]:
    """URL of a Prometheus that scrapes `load` every second, under the labels of pipeline `studio`."""
    labels = {"namespace": world.namespace, "pipeline": "studio", "pod": "studio-0"}
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with target(load) as port:
        scrape = {"job_name": "pods", "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]}
        with running(binaries["prometheus"], folder, [scrape]) as url:
            yield url


@pytest.fixture
def kubeconfig_of(control_plane: ControlPlane, api: httpx.Client, tmp_path: Path) -> Callable[[str], Path]:
    """`kubeconfig_of(namespace)`: credentials of the operator's service account there."""

    def make(namespace: str) -> Path:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/mediapipeline-operator/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        token = api.post(path, json=request).raise_for_status().json()["status"]["token"]
        entry = {"server": control_plane.server_url, "certificate-authority": str(control_plane.ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": entry}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file = tmp_path / f"{namespace}.kubeconfig"
        file.write_text(json.dumps(config))
        return file

    return make


@pytest.fixture(scope="session")
def chart_for_one_namespace() -> str:
    """The chart for an operator in namespace ANYWHERE that serves this namespace alone."""
    command = [str(ensure(("helm",))["helm"]), "template", "mediapipeline-operator", str(CHART)]
    flags = [f"--namespace={ANYWHERE}", "--set", f"namespaces={{{ANYWHERE}}}", "--kube-version=1.31.0"]
    return subprocess.run([*command, *flags], check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture
def await_rights(api: httpx.Client, eventually: Callable[..., Any]) -> Callable[[str, str], None]:
    """`await_rights(home, namespace)`: until the operator whose account is in `home` may work in `namespace`."""

    def wait(home: str, namespace: str) -> None:
        user = f"system:serviceaccount:{home}:mediapipeline-operator"
        for right in LATE_RIGHTS:
            where = {"namespace": home if right["resource"] == "leases" else namespace}
            eventually(lambda right={**right, **where}: _may(api, user, right), f"the right to {right}")

    return wait


@pytest.fixture
def operator_kubeconfig(
    chart_for_one_namespace: str,
    namespace: str,
    api: httpx.Client,
    kubeconfig_of: Callable[[str], Path],
    await_rights: Callable[[str, str], None],
) -> Iterator[Path]:
    """Credentials with exactly the rights that the chart gives, in the test's namespace."""
    bodies = [body for body in yaml.safe_load_all(chart_for_one_namespace.replace(ANYWHERE, namespace)) if body]
    applied = [_give(api, body, namespace) for body in bodies if body["kind"] in RIGHTS and not _is_for_users(body)]
    await_rights(namespace, namespace)
    yield kubeconfig_of(namespace)
    for path in applied:
        if "namespaces" not in path:
            api.delete(path).raise_for_status()


def _is_for_users(body: Json) -> bool:
    return str(body["metadata"]["name"]).endswith(("-view", "-edit"))


def _give(api: httpx.Client, body: Json, namespace: str) -> str:
    """Applies one object, cluster-wide ones under a name of this namespace's own. Returns its path."""
    if body["kind"].startswith("Cluster"):
        body["metadata"]["name"] += f"-{namespace}"
        if "roleRef" in body:
            body["roleRef"]["name"] += f"-{namespace}"
    path = f"{RIGHTS[body['kind']].format(namespace)}/{body['metadata']['name']}"
    headers = {"Content-Type": "application/apply-patch+yaml"}
    api.patch(path, params={"fieldManager": "tests"}, content=yaml.safe_dump(body), headers=headers).raise_for_status()
    return path


def _may(api: httpx.Client, user: str, attributes: Json) -> bool:
    """The authorizer learns of roles and bindings a little later."""
    spec = {"user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review).raise_for_status()
    return bool(answer.json()["status"]["allowed"])


def _rights_are_there(api: httpx.Client, namespace: str) -> bool:
    return api.get(f"{RIGHTS['RoleBinding'].format(namespace)}/mediapipeline-operator").status_code == 200


def refusals(log: str) -> list[str]:
    """What the API server has forbidden, but for writes to a namespace that ends."""
    lines = [line for line in log.lower().splitlines() if "forbidden" in line]
    return [line for line in lines if "being terminated" not in line]


@pytest.fixture
def start_operator(
    namespace: str, operator_kubeconfig: Path, api: httpx.Client, tmp_path: Path
) -> Iterator[Callable[..., Operator]]:
    """`start_operator(*flags)` starts one more process, with the rights of the chart alone; all are ended after the
    test, and none may have been refused anything, unless its rights have gone with the namespace.
    """
    running: list[Operator] = []

    def start(*flags: str, kubeconfig_file: Path = operator_kubeconfig) -> Operator:
        port = free_port()
        operator = Operator(
            [sys.executable, "-m", "mediapipeline_operator", *_flags(namespace, port), *flags],
            {**os.environ, "KUBECONFIG": str(kubeconfig_file), "POD_NAMESPACE": namespace, "POD_IP": "127.0.0.1"},
            tmp_path / f"operator-{len(running)}.log",
            port,
        )
        running.append(operator)
        return operator

    yield start
    for operator in running:
        operator.kill()
        print(f"--- {operator.log.name}\n{operator.log.read_text()[-8000:]}")
    refused = [line for operator in running for line in refusals(operator.log.read_text())]
    assert not refused or not _rights_are_there(api, namespace), refused


def _flags(namespace: str, port: int) -> tuple[str, ...]:
    return (
        f"--namespaces={namespace}",
        f"--health-port={port}",
        "--log-format=text",
        "--tick-seconds=1",
        "--request-timeout-seconds=10",  # over a slow answer, which no test has asked for, an event would be lost
        "--lease-duration-seconds=20",
    )


@pytest.fixture
def operator(start_operator: Callable[..., Operator], world: World) -> Operator:
    """One operator that looks after the test's namespace."""
    return start_operator()
