"""Helm, and the chart rendered with each file of values/."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.binaries import ensure

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/mediapipeline-operator"
VALUES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
# Helm built from its module knows no Kubernetes version by itself.
KUBE = ("--kube-version", "1.31.0")
_helm: pytest.StashKey[Path] = pytest.StashKey()
Json = dict[str, Any]
Helm = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Gets helm before the first test's time limit runs: where it must be built that takes minutes, once."""
    wanted = any(Path(__file__).parent in item.path.parents for item in session.items)
    if wanted and not session.config.option.collectonly:
        session.config.stash[_helm] = ensure(("helm",))["helm"]


@pytest.fixture(scope="session")
def helm_program(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.stash[_helm]


@pytest.fixture(scope="session")
def helm(helm_program: Path) -> Helm:
    """Runs helm: `helm("template", ...) -> CompletedProcess`."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = (str(helm_program), *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Callable[[str], list[Json]]:
    """`render("namespaces")`: the manifests for values/namespaces.yaml."""

    def rendered(name: str) -> list[Json]:
        values = Path(__file__).parent / "values" / f"{name}.yaml"
        result = helm("template", "mpo", str(CHART), *KUBE, "--namespace", "operators", "--values", str(values))
        assert result.returncode == 0, result.stderr
        return [manifest for manifest in yaml.safe_load_all(result.stdout) if manifest]

    return rendered


@pytest.fixture(params=VALUES, ids=lambda path: path.stem)
def manifests(request: pytest.FixtureRequest, render: Callable[[str], list[Json]]) -> list[Json]:
    """The chart rendered with one file of values/."""
    return render(request.param.stem)
