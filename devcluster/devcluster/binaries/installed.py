"""Programs that are already there: in the folder KUBEBUILDER_ASSETS names, or on PATH."""

import mmap
import os
import shutil
import subprocess
from pathlib import Path

from devcluster.binaries.errors import SourceUnavailableError
from devcluster.binaries.versions import Binary, Version, parse_version

VERSION_TIMEOUT_SECONDS = 10.0


def find_installed(binary: Binary) -> Path:
    """A program of a version that fits.

    Raises:
        SourceUnavailableError: there is none, or only of a version that does not fit.
    """
    found = _candidates(binary.name)
    for path in found:
        version = installed_version(path, binary)
        if version is not None and binary.fits(version) and contains(path, binary.needed_content):
            return path
    if found:
        versions = ", ".join(f"{path} ({_shown(installed_version(path, binary))})" for path in found)
        raise SourceUnavailableError(
            f"installed, but of a version or build that does not fit {binary.version}: {versions}"
        )
    raise SourceUnavailableError("not in KUBEBUILDER_ASSETS or on PATH")


def installed_version(path: Path, binary: Binary) -> Version | None:
    """What the program says its version is; None when it does not say."""
    try:
        answer = subprocess.run(
            (str(path), *binary.version_arguments),
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stdout + answer.stderr)


def contains(path: Path, content: bytes) -> bool:
    """Whether a file holds the bytes; true for no bytes."""
    if not content:
        return True
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(content) >= 0


def _candidates(name: str) -> list[Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    paths = [shutil.which(name, path=assets) if assets else None, shutil.which(name)]
    return list(dict.fromkeys(Path(path) for path in paths if path))


def _shown(version: Version | None) -> str:
    return "unknown version" if version is None else ".".join(map(str, version))
