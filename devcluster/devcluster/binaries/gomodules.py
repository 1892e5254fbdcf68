"""Builds programs from public Go modules, in a wrapper module that copies the module's own requirements.

The wrapper's go.mod is the program's go.mod with two changes: replacements by folders (which exist only in the
publisher's repository) become the published versions of those modules, and the program's module itself is required. So
nothing has to be resolved: every dependency has the version its publisher released with. (`go mod tidy` in an empty
wrapper would resolve anew, fetch test dependencies, and pick versions that do not build together.)
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster.binaries.cache import Cache, disk_full
from devcluster.binaries.errors import SourceUnavailableError
from devcluster.binaries.gotoolchain import GoToolchain, find_go
from devcluster.binaries.progress import Progress
from devcluster.binaries.tools import checked, run_tool
from devcluster.binaries.versions import Binary, GoRecipe

DOWNLOAD_TIMEOUT_SECONDS = 600.0
BUILD_TIMEOUT_SECONDS = 3600.0  # kube-apiserver takes four minutes on two free cores
NEEDED_BYTES = 3 * 2**30  # measured: 2.6 GiB of module and build cache for Kubernetes
_FOLDER_REPLACEMENT = re.compile(
    r"^(?P<indent>\s*(?:replace\s+)?)(?P<module>\S+)\s+=>\s+\.{1,2}/\S+[ \t]*$", re.MULTILINE
)
_MODULE_LINE = re.compile(r"^module\s+\S+", re.MULTILINE)
_FORBIDDEN = "FORBIDDEN_DEPENDENCY"


@dataclass(frozen=True)
class GoModule:
    """A downloaded module: its go.mod file and its unpacked, read-only folder."""

    go_mod: Path
    folder: Path


class GoSource:
    """Builds programs; looks for a toolchain when the first one is wanted."""

    def __init__(self, cache: Cache, progress: Progress) -> None:
        self._cache = cache
        self._progress = progress

    def fetch(self, binary: Binary, folder: Path) -> dict[str, Path]:
        """Builds the program into `folder`.

        Raises:
            SourceUnavailableError: no toolchain, no network, or the build fails.
            CacheError: the disk is full.
        """
        if shutil.disk_usage(folder).free < NEEDED_BYTES // 4:
            raise disk_full(folder)
        toolchain = find_go(self._cache, self._progress)
        module = download_module(toolchain, binary.go.module, binary.go.module_version, folder)
        source = folder / "source"
        prepare_source(binary.go, module, source)
        return {binary.name: _build(toolchain, binary, source, folder / f"built-{binary.name}")}


def download_module(toolchain: GoToolchain, module: str, version: str, folder: Path) -> GoModule:
    """Downloads one module without its dependencies; `go mod download` checks it against the checksum database.

    Raises:
        SourceUnavailableError: it cannot be had.
    """
    arguments = (str(toolchain.program), "mod", "download", "-json", f"{module}@v{version}")
    result = run_tool(
        arguments, timeout_seconds=DOWNLOAD_TIMEOUT_SECONDS, folder=folder, environment=toolchain.environment
    )
    # with -json the error is in the answer
    answer = json.loads(result.output or "{}")
    if "Error" in answer:
        raise SourceUnavailableError(f"go mod download {module}@v{version}: {answer['Error'].splitlines()[-1][:300]}")
    checked(result, f"go mod download {module}@v{version}", folder)
    return GoModule(Path(answer["GoMod"]), Path(answer["Dir"]))


def wrapper_go_mod(recipe: GoRecipe, upstream: str) -> str:
    """The wrapper's go.mod, from the text of the program's go.mod (pure)."""
    text = _MODULE_LINE.sub("module rtcscale.dev/devcluster/build", upstream, count=1)
    kept = "\n".join(line for line in text.splitlines() if _FORBIDDEN not in line)
    version = recipe.folder_replacements
    replaced = _FOLDER_REPLACEMENT.sub(rf"\g<indent>\g<module> => \g<module> v{version}", kept)
    return f"{replaced}\n\nrequire {recipe.module} v{recipe.module_version}\n"


def prepare_source(recipe: GoRecipe, module: GoModule, folder: Path) -> None:
    """Makes the folder to build in: a wrapper module, or a writable copy of a module of which files are replaced."""
    if recipe.replaced_files:
        shutil.copytree(module.folder, folder, copy_function=shutil.copyfile)
        _make_writable(folder)
        for path, content in recipe.replaced_files:
            (folder / path).write_text(content)
    else:
        folder.mkdir()
        _write_wrapper(recipe, module, folder)


def _make_writable(folder: Path) -> None:
    # the module cache is read-only, and copytree copies the mode of folders
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def _write_wrapper(recipe: GoRecipe, module: GoModule, folder: Path) -> None:
    # the publisher's go.sum pins the content of the dependencies, too
    (folder / "go.mod").write_text(wrapper_go_mod(recipe, module.go_mod.read_text()))
    sums = module.folder / "go.sum"
    if sums.is_file():
        (folder / "go.sum").write_text(sums.read_text())


def _build(toolchain: GoToolchain, binary: Binary, folder: Path, target: Path) -> Path:
    flags = ("-trimpath", "-ldflags", binary.go.linker_flags, "-o", str(target))
    arguments = (str(toolchain.program), "build", *flags, binary.go.package)
    result = run_tool(
        arguments, timeout_seconds=BUILD_TIMEOUT_SECONDS, folder=folder, environment=toolchain.environment
    )
    checked(result, f"go build {binary.go.package}", folder)
    return target
