"""Prometheus from the Debian package, as an ordinary user: downloaded and unpacked, never installed.

Two seconds instead of two and a half minutes for a build from source. apt checks the package's signature chain.
"""

import shutil
from pathlib import Path

from devcluster.binaries.errors import NotOfferedError, SourceUnavailableError
from devcluster.binaries.installed import installed_version
from devcluster.binaries.tools import checked, run_tool
from devcluster.binaries.versions import Binary

DOWNLOAD_TIMEOUT_SECONDS = 120.0
UNPACK_TIMEOUT_SECONDS = 60.0
_PACKAGES = {"prometheus": ("prometheus", "promtool")}


def fetch_debian(binary: Binary, folder: Path) -> dict[str, Path]:
    """Downloads and unpacks the package that holds the program; program names to files.

    Raises:
        SourceUnavailableError: no such package, no apt, or a version that does not fit.
    """
    programs = _PACKAGES.get(binary.product)
    if programs is None:
        raise NotOfferedError("no Debian package is used")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SourceUnavailableError("this is not a Debian system (no apt-get)")
    root = _unpack(_download(binary.product, folder), folder)
    version = installed_version(root / binary.name, binary)
    if version is None or not binary.fits(version):
        raise SourceUnavailableError(f"the Debian package holds version {version}, which does not fit")
    return {name: root / name for name in programs}


def _download(package: str, folder: Path) -> Path:
    result = run_tool(("apt-get", "download", package), timeout_seconds=DOWNLOAD_TIMEOUT_SECONDS, folder=folder)
    checked(result, f"apt-get download {package}", folder)
    found = list(folder.glob(f"{package}_*.deb"))
    if not found:
        raise SourceUnavailableError(f"apt-get download {package} left no file")
    return found[0]


def _unpack(package: Path, folder: Path) -> Path:
    root = folder / "root"
    result = run_tool(
        ("dpkg-deb", "-x", str(package), str(root)), timeout_seconds=UNPACK_TIMEOUT_SECONDS, folder=folder
    )
    checked(result, f"dpkg-deb -x {package.name}", folder)
    return root / "usr" / "bin"
