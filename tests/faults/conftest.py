"""The fault suite has a control plane of its own: it restarts etcd and removes CRDs."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest
import yaml

from devcluster.binaries import CONTROL_PLANE, BinaryError, crd_manifests, ensure
from devcluster.controlplane import ControlPlane
from faults import crash_faults, leader_faults, metric_faults
from faults.life import Reference, reference_run
from faults.rig import Rig

CRD_FILE = Path(__file__).parents[2] / "crds" / "media.rtcscale.dev_mediapipelines.yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ESTABLISH_SECONDS = 60.0
TEST_SECONDS = 400.0
ASIDE: Mapping[str, Callable[[Rig, Reference], None]] = {
    "killed_again_and_again": lambda rig, reference: crash_faults.killed_again_and_again(rig, reference, after=3),
    "late_write": leader_faults.late_write,
    "half_of_the_pods": lambda rig, reference: metric_faults.prometheus_fails(rig, ("half",)),
}
REQUEST_SECONDS = 30.0
START_SECONDS = 250.0
_binaries: pytest.StashKey[Mapping[str, Path] | BinaryError] = pytest.StashKey()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a busy machine the control plane, an operator and the reference run alone may take minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


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
        return ensure(CONTROL_PLANE)
    except BinaryError as error:
        return error


@pytest.fixture(scope="session")
def plane(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver and the controllers; the kinds of MediaPipeline and ServiceMonitor are served."""
    found = pytestconfig.stash[_binaries]
    if isinstance(found, BinaryError):
        pytest.fail(str(found))
    plane = ControlPlane(tmp_path_factory.mktemp("faults"), found, audit=True)
    try:
        plane.start(START_SECONDS)
        plane.stop_component("kube-scheduler")  # there is no node: it would say so of every pod, again and again
        for file in (CRD_FILE, crd_manifests("servicemonitors")):
            with plane.client() as api:
                api.timeout = REQUEST_SECONDS
                install_crd(api, file)
        yield plane
    finally:
        plane.stop()


def install_crd(api: httpx.Client, file: Path) -> None:
    """Applies a CRD and waits until it is served."""
    body = yaml.safe_load(file.read_text())
    path = f"{CRDS}/{body['metadata']['name']}"
    headers = {"Content-Type": "application/apply-patch+yaml"}
    query = {"fieldManager": "tests", "force": "true"}
    api.patch(path, params=query, content=yaml.safe_dump(body), headers=headers).raise_for_status()
    deadline = time.monotonic() + ESTABLISH_SECONDS
    while "Established" not in _true_conditions(api, path):
        assert time.monotonic() < deadline, f"{path} is not established"
        time.sleep(0.1)


def _true_conditions(api: httpx.Client, path: str) -> set[str]:
    status = api.get(path).json().get("status") or {}
    return {item["type"] for item in status.get("conditions") or () if item["status"] == "True"}


@pytest.fixture(scope="session")
def crd() -> Callable[[httpx.Client], None]:
    """Installs the MediaPipeline CRD (again)."""
    return lambda api: install_crd(api, CRD_FILE)


@pytest.fixture
def make_rig(plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Rig]]:
    """`make_rig(mutant="", flags=())`: a namespace of the test's own, without an operator yet."""
    made: list[Rig] = []

    def make(mutant: str = "", flags: tuple[str, ...] = ()) -> Rig:
        made.append(Rig(plane, tmp_path, mutant=mutant, flags=flags))
        made[-1].thorough = _is_thorough(request) and not mutant
        return made[-1].__enter__()

    yield make
    for rig in made:
        rig.__exit__(None, None, None)


def _is_thorough(request: pytest.FixtureRequest) -> bool:
    """What has time ends each scenario with a restart."""
    return request.node.get_closest_marker("soak") is not None


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A namespace of the test's own, without an operator yet."""
    return make_rig()


@pytest.fixture(scope="session")
def running(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One operator for all scenarios that leave it running."""
    with Rig(plane, tmp_path_factory.mktemp("shared")) as rig:
        rig.start()
        yield rig


@pytest.fixture(scope="session")
def beside(
    plane: ControlPlane, reference: Reference, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], None]]:
    """`beside(scenario)`: what came of one of ASIDE.

    These have rigs of their own and mostly wait, so they run next to the others; with what breaks the control plane
    they take turns.
    """

    def run(name: str) -> None:
        with Rig(plane, tmp_path_factory.mktemp(name)) as rig:
            ASIDE[name](rig, reference)

    items = request.session.items
    asked = {item.callspec.params["aside"] for item in items if "aside" in getattr(item, "fixturenames", ())}  # type: ignore[attr-defined]
    early = not any(item.get_closest_marker("soak") for item in items)
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        begun = {name: pool.submit(run, name) for name in sorted(asked)} if early else {}
        yield lambda name: begun[name].result(TEST_SECONDS) if name in begun else run(name)


@pytest.fixture
def shared(running: Rig, beside: Callable[[str], None], request: pytest.FixtureRequest) -> Rig:
    """The running operator without what it has lived through before; each scenario has pipelines of its own."""
    running.thorough = _is_thorough(request)
    running.begin_anew()
    return running


@pytest.fixture(scope="session")
def reference(running: Rig) -> Reference:
    """What the life of a pipeline leads to without a fault."""
    return reference_run(running)
