"""Official release downloads, each checked against the checksum that its publisher serves beside it."""

import hashlib
import platform
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import httpx

from devcluster.binaries.errors import ChecksumError, NotOfferedError, SourceUnavailableError
from devcluster.binaries.versions import Binary

CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 1 << 20
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Release:
    """Where a file is published. `members` maps programs to paths in the archive; empty: the file is the program."""

    url: str
    checksum_url: str
    members: dict[str, str] = field(default_factory=dict)


def release_of(binary: Binary, machine: str) -> Release:
    """The official download of a program for a machine (`amd64`, `arm64`) on Linux.

    Raises:
        NotOfferedError: its publisher offers images only.
    """
    if binary.product not in _RELEASES:
        raise NotOfferedError("published as an image only")
    return _RELEASES[binary.product](binary, machine)


class ReleaseSource:
    """Downloads releases; a host that did not answer is not asked again."""

    def __init__(self, client: httpx.Client | None = None, machine: str | None = None) -> None:
        timeout = httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
        self._client = client or httpx.Client(timeout=timeout, follow_redirects=True)
        self._machine = machine or _MACHINES.get(platform.machine(), "")
        self._silent_hosts: set[str] = set()

    def fetch(self, binary: Binary, folder: Path) -> dict[str, Path]:
        """Downloads, checks and unpacks into `folder`; program names to files.

        Raises:
            SourceUnavailableError: no such release, or its host cannot be reached.
            ChecksumError: the file is not what was published.
        """
        if not self._machine:
            raise SourceUnavailableError(f"no official download for {platform.machine()}")
        release = release_of(binary, self._machine)
        expected = published_checksum(self._text(release.checksum_url), PurePosixPath(release.url).name)
        archive = folder / PurePosixPath(release.url).name
        verify(archive, self._download(release.url, archive), expected)
        return unpack(archive, release.members, folder) if release.members else {binary.name: archive}

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _text(self, url: str) -> str:
        with self._guard(url):
            return self._client.get(url).raise_for_status().text

    def _download(self, url: str, target: Path) -> str:
        digest = hashlib.sha256()
        with self._guard(url), self._client.stream("GET", url) as response, target.open("wb") as output:
            for chunk in response.raise_for_status().iter_bytes(_CHUNK_BYTES):
                digest.update(chunk)
                output.write(chunk)
        return digest.hexdigest()

    def _guard(self, url: str) -> "_HostGuard":
        return _HostGuard(urlsplit(url).hostname or url, self._silent_hosts)


class _HostGuard:
    """Turns errors of a host into one line, and skips a host that was silent before."""

    def __init__(self, host: str, silent_hosts: set[str]) -> None:
        self._host = host
        self._silent_hosts = silent_hosts

    def __enter__(self) -> None:
        if self._host in self._silent_hosts:
            raise SourceUnavailableError(f"{self._host} cannot be reached")

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx.HTTPStatusError):
            raise SourceUnavailableError(
                f"{self._host} answered {error.response.status_code} for {error.request.url}"
            ) from error
        if isinstance(error, httpx.HTTPError):
            self._silent_hosts.add(self._host)
            raise SourceUnavailableError(f"{self._host} cannot be reached ({error or type(error).__name__})") from error


def published_checksum(text: str, file_name: str) -> str:
    """The SHA-256 of a file from a checksum file: the bare digest, or lines of `digest  name`.

    Raises:
        SourceUnavailableError: it is not listed.
    """
    for line in text.splitlines():
        digest, _, listed = line.strip().partition(" ")
        if len(digest) == 64 and listed.strip().lstrip("*") in ("", file_name):
            return digest.lower()
    raise SourceUnavailableError(f"the published checksums do not list {file_name}")


def verify(path: Path, actual: str, expected: str) -> None:
    """Removes the file and raises ChecksumError when the digests differ."""
    if actual == expected:
        return
    path.unlink(missing_ok=True)
    raise ChecksumError(
        f"{path.name}: SHA-256 is {actual}, published is {expected}. The download was removed; "
        "something between here and the publisher changes files. Try another network."
    )


def unpack(archive: Path, members: dict[str, str], folder: Path) -> dict[str, Path]:
    """Takes the named members, and nothing else, out of a tar archive."""
    files: dict[str, Path] = {}
    with tarfile.open(archive) as tar:
        for name, member in members.items():
            source = tar.extractfile(member)
            if source is None:
                raise SourceUnavailableError(f"{archive.name} holds no {member}")
            files[name] = folder / f"unpacked-{name}"
            with source, files[name].open("wb") as output:
                while chunk := source.read(_CHUNK_BYTES):
                    output.write(chunk)
    return files


def _kubernetes(binary: Binary, machine: str) -> Release:
    url = f"https://dl.k8s.io/release/v{binary.version}/bin/linux/{machine}/{binary.name}"
    return Release(url, f"{url}.sha256")


def _etcd(binary: Binary, machine: str) -> Release:
    base = f"https://github.com/etcd-io/etcd/releases/download/v{binary.version}"
    stem = f"etcd-v{binary.version}-linux-{machine}"
    return Release(f"{base}/{stem}.tar.gz", f"{base}/SHA256SUMS", {"etcd": f"{stem}/etcd"})


def _prometheus(binary: Binary, machine: str) -> Release:
    base = f"https://github.com/prometheus/prometheus/releases/download/v{binary.version}"
    stem = f"prometheus-{binary.version}.linux-{machine}"
    members = {name: f"{stem}/{name}" for name in ("prometheus", "promtool")}
    return Release(f"{base}/{stem}.tar.gz", f"{base}/sha256sums.txt", members)


def _helm(binary: Binary, machine: str) -> Release:
    url = f"https://get.helm.sh/helm-v{binary.version}-linux-{machine}.tar.gz"
    return Release(url, f"{url}.sha256sum", {"helm": f"linux-{machine}/helm"})


_RELEASES: dict[str, Callable[[Binary, str], Release]] = {
    "kubernetes": _kubernetes,
    "etcd": _etcd,
    "prometheus": _prometheus,
    "helm": _helm,
}
