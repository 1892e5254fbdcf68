"""A real control plane for the end-to-end tests: one for the whole run, a fresh namespace for each test."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from devcluster.binaries import CONTROL_PLANE, BinaryError, crd_manifests, ensure
from devcluster.cluster import IMAGES
from devcluster.controlplane import ChildProcess, Command, ControlPlane, start_process

Kubectl = Callable[..., subprocess.CompletedProcess[str]]
KUBECTL_TIMEOUT_SECONDS = 120
API_SECONDS = 30
WAIT_SECONDS = 90  # for what takes a second or two when nobody else wants the cores
_binaries: pytest.StashKey[Mapping[str, Path] | BinaryError] = pytest.StashKey()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an end-to-end test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Gets the programs before the first test's time limit runs: building them takes minutes, once."""
    wanted = any(Path(__file__).parent in item.path.parents for item in session.items)
    if not wanted or session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():  # the progress is for people
        session.config.stash[_binaries] = _get_binaries()


def _get_binaries() -> Mapping[str, Path] | BinaryError:
    try:
        crd_manifests("servicemonitors")
        return ensure((*CONTROL_PLANE, "prometheus", "promtool"))
    except BinaryError as error:
        return error


@pytest.fixture(scope="session")
def binaries(pytestconfig: pytest.Config) -> Mapping[str, Path]:
    """Paths of the programs; a test that needs them fails with the reason when they cannot be had."""
    found = pytestconfig.stash[_binaries]
    if isinstance(found, BinaryError):
        pytest.fail(str(found))
    return found


@pytest.fixture(scope="session")
def control_plane(binaries: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver, kube-controller-manager and kube-scheduler, with `mutations()` recorded."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), binaries, audit=True) as plane:
        yield plane


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """The administrator's kubeconfig."""
    return control_plane.kubeconfig


@pytest.fixture
def api(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    """An HTTP client of the API server with the administrator's rights."""
    with control_plane.client() as client:
        client.timeout = API_SECONDS
        yield client


@pytest.fixture(scope="session")
def kubectl(binaries: Mapping[str, Path], kubeconfig: Path) -> Kubectl:
    """Runs kubectl as the administrator: `kubectl("get", "pods", input=None, check=True) -> CompletedProcess`."""

    def run(*arguments: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:  # noqa: A002  the name that subprocess.run has
        result = subprocess.run(
            (str(binaries["kubectl"]), f"--kubeconfig={kubeconfig}", *arguments),
            input=input,
            capture_output=True,
            text=True,
            timeout=KUBECTL_TIMEOUT_SECONDS,
            check=False,
        )
        if check and result.returncode != 0:
            pytest.fail(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result

    return run


@pytest.fixture
def namespace(api: httpx.Client) -> Iterator[str]:
    """A fresh namespace in which pods can be created; deleted at the end, without waiting."""
    name = f"test-{secrets.token_hex(4)}"
    metadata = {"metadata": {"name": name}}
    api.post("/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", **metadata}).raise_for_status()
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(lambda: api.get(account).status_code == 200, "the default service account")
    yield name
    answer = api.delete(f"/api/v1/namespaces/{name}")
    if answer.status_code != 404:  # a test may have deleted it
        answer.raise_for_status()


@pytest.fixture(name="eventually", scope="session")
def eventually_fixture() -> Callable[..., Any]:
    """`eventually(condition, what, timeout_seconds=WAIT_SECONDS)`: polls until the condition gives something true."""
    return eventually


def eventually(condition: Callable[[], Any], what: str, timeout_seconds: float = WAIT_SECONDS) -> Any:
    deadline = time.monotonic() + timeout_seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_seconds} s for {what}")
        time.sleep(0.1)
    return result


TEST_IMAGES = {
    **IMAGES,
    "example.org/mediapod-alone": ["python", "-m", "mediapod"],  # its pods cannot find each other
    "example.org/http-server": {
        "argv": ["python", str(Path(__file__).parent / "pods" / "http_server.py")],
        "env": {"FROM_IMAGE": "yes"},
    },
    "example.org/shell": ["/bin/sh"],
}


@dataclass(frozen=True)
class NodeAgent:
    """A running node agent: its Node's name, its process, its data folder, and what its pods have to tolerate."""

    name: str
    process: ChildProcess
    data_dir: Path
    toleration: Mapping[str, str]


@pytest.fixture(scope="session")
def start_node_agent(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., NodeAgent]]:
    """`start_node_agent(name, *flags, data_dir=None) -> NodeAgent`: another node of the cluster, Ready on return.

    It takes no pods but those that tolerate it: other tests say themselves what becomes of their pods.
    """
    agents: list[NodeAgent] = []

    def start(name: str, *flags: str, data_dir: Path | None = None) -> NodeAgent:
        folder = data_dir or tmp_path_factory.mktemp(name)
        images = folder / "images.json"
        images.write_text(json.dumps(TEST_IMAGES))
        taint = ("--taint", f"node={name}:NoSchedule")
        paths = ("--kubeconfig", control_plane.kubeconfig, "--data-dir", folder, "--images", images)
        program = (sys.executable, "-m", "devcluster.node.cli", "run", "--name", name)
        command = Command(f"node-{name}", (*program, *map(str, paths), "--backoff-seconds", "1", *taint, *flags))
        toleration = {"key": "node", "operator": "Equal", "value": name}
        agents.append(NodeAgent(name, start_process(command, folder), folder, toleration))
        with control_plane.client() as client:
            eventually(lambda: _node_ready(client, name), f"node {name} to be Ready")
        return agents[-1]

    yield start
    for agent in reversed(agents):
        agent.process.stop(timeout_seconds=30)


def _node_ready(client: httpx.Client, name: str) -> bool:
    answer = client.get(f"/api/v1/nodes/{name}")
    conditions = answer.json()["status"].get("conditions") or () if answer.status_code == 200 else ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@pytest.fixture(scope="session")
def node_agent(start_node_agent: Callable[..., NodeAgent]) -> NodeAgent:
    """The node that runs the pods of all tests which want that, with four simulated GPUs."""
    return start_node_agent("devnode", "--gpus", "4", "--cpu", "32", "--memory", "64Gi")
