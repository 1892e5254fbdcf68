"""Official downloads: checked against published checksums, silent hosts asked once."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from devcluster.binaries.errors import ChecksumError, SourceUnavailableError
from devcluster.binaries.releases import ReleaseSource, published_checksum, release_of
from devcluster.binaries.versions import CATALOGUE, ETCD, PROMETHEUS

PROGRAM = b"the program"


def _source(answer: Callable[[httpx.Request], httpx.Response]) -> ReleaseSource:
    return ReleaseSource(httpx.Client(transport=httpx.MockTransport(answer)), machine="amd64")


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_a_plain_program_is_checked_and_given(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(".sha256"):
            return httpx.Response(200, text=hashlib.sha256(PROGRAM).hexdigest())
        return httpx.Response(200, content=PROGRAM)

    files = _source(answer).fetch(CATALOGUE["kubectl"], tmp_path)
    assert files["kubectl"].read_bytes() == PROGRAM


def test_an_archive_gives_its_programs_and_nothing_else(tmp_path: Path) -> None:
    stem = f"prometheus-{PROMETHEUS}.linux-amd64"
    members = {f"{stem}/prometheus": PROGRAM, f"{stem}/promtool": b"tool", "../../evil": b"evil"}
    archive = _archive(members)
    sums = f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(archive).hexdigest()}  {stem}.tar.gz\n"

    def answer(request: httpx.Request) -> httpx.Response:
        return (
            httpx.Response(200, text=sums) if "sha256sums" in request.url.path else httpx.Response(200, content=archive)
        )

    files = _source(answer).fetch(CATALOGUE["prometheus"], tmp_path)
    assert {name: path.read_bytes() for name, path in files.items()} == {"prometheus": PROGRAM, "promtool": b"tool"}
    assert not (tmp_path.parent.parent / "evil").exists()


def test_a_changed_download_is_refused_and_removed(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        text = hashlib.sha256(PROGRAM).hexdigest()
        return httpx.Response(200, text=text if request.url.path.endswith(".sha256") else "changed on the way")

    with pytest.raises(ChecksumError, match=r"kubectl: SHA-256 is .* published is"):
        _source(answer).fetch(CATALOGUE["kubectl"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_host_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        raise httpx.ConnectError("Name or service not known", request=request)

    source = _source(refuse)
    for name in ("kube-apiserver", "kubectl", "etcd", "prometheus"):
        with pytest.raises(SourceUnavailableError, match=r"(dl\.k8s\.io|github\.com) cannot be reached"):
            source.fetch(CATALOGUE[name], tmp_path)
    assert asked == ["dl.k8s.io", "github.com"]


def test_a_missing_release_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match=r"^dl\.k8s\.io answered 404 for https://\S+$"):
        _source(lambda _request: httpx.Response(404)).fetch(CATALOGUE["kubectl"], tmp_path)


def test_a_file_that_the_checksums_do_not_list_is_refused() -> None:
    listed = f"{'a' * 64}  *etcd.tar.gz\n"
    assert published_checksum(listed, "etcd.tar.gz") == "a" * 64
    with pytest.raises(SourceUnavailableError, match=r"do not list other\.tar\.gz"):
        published_checksum(listed, "other.tar.gz")


def test_urls_are_those_of_the_publishers() -> None:
    etcd = release_of(CATALOGUE["etcd"], "arm64")
    assert etcd.url == f"https://github.com/etcd-io/etcd/releases/download/v{ETCD}/etcd-v{ETCD}-linux-arm64.tar.gz"
    assert etcd.members == {"etcd": f"etcd-v{ETCD}-linux-arm64/etcd"}
    assert release_of(CATALOGUE["helm"], "amd64").checksum_url.startswith("https://get.helm.sh/helm-v")
