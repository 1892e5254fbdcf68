"""How programs are built from Go modules: the wrapper, its environment, and what failures say."""

import stat
from pathlib import Path

import pytest

from devcluster.binaries import BinaryError, Progress, Quiet, crd_manifests
from devcluster.binaries.cache import Cache
from devcluster.binaries.errors import CacheError, SourceUnavailableError
from devcluster.binaries.gomodules import GoModule, prepare_source, wrapper_go_mod
from devcluster.binaries.gotoolchain import go_environment
from devcluster.binaries.tools import ToolResult, checked, run_tool
from devcluster.binaries.versions import CATALOGUE, PROMETHEUS_OPERATOR, GoRecipe

UPSTREAM = """// a comment
module example.org/server

go 1.26.0

require (
	example.org/api v0.0.0
	example.org/other v1.2.3
)

replace (
	example.org/api => ./staging/src/example.org/api
	example.org/other v1.2.2 => example.org/other v1.2.3
)

replace example.org/pkg => ../pkg

replace example.org => ./FORBIDDEN_DEPENDENCY
"""
WRAPPED = """// a comment
module rtcscale.dev/devcluster/build

go 1.26.0

require (
	example.org/api v0.0.0
	example.org/other v1.2.3
)

replace (
	example.org/api => example.org/api v0.36.3
	example.org/other v1.2.2 => example.org/other v1.2.3
)

replace example.org/pkg => example.org/pkg v0.36.3


require example.org/server v1.36.3
"""


def test_folders_become_published_versions() -> None:
    recipe = GoRecipe("example.org/server", "1.36.3", "example.org/server/cmd", folder_replacements="0.36.3")
    assert wrapper_go_mod(recipe, UPSTREAM) == WRAPPED


def test_prometheus_is_built_in_a_writable_copy_with_one_discovery(tmp_path: Path) -> None:
    module = tmp_path / "module"
    (module / "plugins").mkdir(parents=True)
    (module / "go.mod").write_text("module github.com/prometheus/prometheus\n")
    (module / "plugins" / "plugins.go").write_text("everything")
    for path in (module / "plugins" / "plugins.go", module / "go.mod", module / "plugins", module):
        path.chmod(0o555 if path.is_dir() else 0o444)  # as in the module cache
    copy = tmp_path / "copy"
    prepare_source(CATALOGUE["prometheus"].go, GoModule(module / "go.mod", module), copy)
    assert "discovery/kubernetes" in (copy / "plugins" / "plugins.go").read_text()
    assert (copy / "go.mod").stat().st_mode & stat.S_IWUSR
    assert (copy / "plugins").stat().st_mode & stat.S_IWUSR
    assert (module / "plugins" / "plugins.go").read_text() == "everything"
    module.chmod(0o755)
    (module / "plugins").chmod(0o755)


def test_the_users_flags_stay_and_ours_come_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=vendor -p=1")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("GOTOOLCHAIN", raising=False)
    environment = go_environment(tmp_path)
    assert environment["GOFLAGS"].split() == ["-mod=vendor", "-p=1", "-mod=mod", "-buildvcs=false"]
    assert environment["GOTOOLCHAIN"] == "local"
    assert "GOPROXY" not in environment
    assert "GOCACHE" not in environment


def test_without_a_home_go_gets_caches_below_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "GOCACHE", "GOPATH"):
        monkeypatch.delenv(name, raising=False)
    environment = go_environment(tmp_path)
    assert environment["GOCACHE"] == str(tmp_path / "gocache")
    assert environment["GOPATH"] == str(tmp_path / "gopath")


def test_a_full_disk_in_a_build_is_said_as_such(tmp_path: Path) -> None:
    result = ToolResult(1, "", "link: write /x/y: no space left on device\n")
    with pytest.raises(CacheError, match="no space left on the disk"):
        checked(result, "go build", tmp_path)


def test_no_network_in_a_build_is_said_as_such(tmp_path: Path) -> None:
    result = ToolResult(1, "", "go: k8s.io/api: dial tcp: lookup modules.example.org: no such host\n")
    with pytest.raises(SourceUnavailableError, match=r"^go build: no network \(go: k8s\.io/api: dial tcp.*\)$"):
        checked(result, "go build", tmp_path)


def test_any_other_failure_ends_with_the_tools_last_line(tmp_path: Path) -> None:
    result = ToolResult(2, "", "# pkg\nx.go:1:1: syntax error\n\n")
    with pytest.raises(SourceUnavailableError, match=r"^go build failed: x\.go:1:1: syntax error$"):
        checked(result, "go build", tmp_path)


def test_a_tool_runs_in_its_folder_with_its_environment(tmp_path: Path) -> None:
    result = run_tool(
        ("/bin/sh", "-c", "pwd; echo $WORD"), timeout_seconds=60, folder=tmp_path, environment={"WORD": "yes"}
    )
    assert (result.returncode, result.output) == (0, f"{tmp_path}\nyes\n")


def test_a_tool_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match="took longer than 0 s"):
        run_tool(("sleep", "60"), timeout_seconds=0.3, folder=tmp_path)


def test_a_crd_that_cannot_be_had_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_cache: Cache, _progress: Progress) -> None:
        raise SourceUnavailableError("no network")

    monkeypatch.setattr("devcluster.binaries.crds.find_go", refuse)
    with pytest.raises(BinaryError, match=r"no network\nTo go on: .* put the CRD into .*/servicemonitors\.yaml\.$"):
        crd_manifests("servicemonitors", cache_dir=tmp_path, progress=Quiet())


def test_a_cached_crd_needs_no_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    cached = tmp_path / f"prometheus-operator-{PROMETHEUS_OPERATOR}" / "servicemonitors.yaml"
    cached.parent.mkdir()
    cached.write_text("kind: CustomResourceDefinition")
    assert crd_manifests("servicemonitors", cache_dir=tmp_path, progress=Quiet()) == cached
