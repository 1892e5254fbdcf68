"""CustomResourceDefinitions of other projects, taken from their Go modules and never kept in this repository."""

from pathlib import Path

from devcluster.binaries.cache import Cache, default_cache_dir
from devcluster.binaries.errors import BinaryError, SourceUnavailableError
from devcluster.binaries.gomodules import download_module
from devcluster.binaries.gotoolchain import find_go
from devcluster.binaries.progress import Lines, Progress
from devcluster.binaries.versions import PROMETHEUS_OPERATOR

_MODULE = "github.com/prometheus-operator/prometheus-operator"
_FOLDER = f"prometheus-operator-{PROMETHEUS_OPERATOR}"
_CRD_FOLDER = "example/prometheus-operator-crd"


def crd_manifests(plural: str, *, cache_dir: Path | None = None, progress: Progress | None = None) -> Path:
    """A YAML file with the CRD of a kind of monitoring.coreos.com, for example `servicemonitors`.

    Raises:
        BinaryError: the module cannot be had, or has no such CRD.
    """
    cache, shown = Cache(cache_dir or default_cache_dir()), progress or Lines()
    name = f"{plural}.yaml"
    found = cache.find(_FOLDER, name)
    if found is None:
        with cache.locked(_FOLDER, shown):
            found = cache.find(_FOLDER, name) or _fetch(cache, plural, shown)
    return found


def _fetch(cache: Cache, plural: str, progress: Progress) -> Path:
    name = f"{plural}.yaml"
    target = cache.root / _FOLDER / name
    try:
        with progress.step(f"fetching the CRD {plural} (Go module)"), cache.workspace(_FOLDER) as workspace:
            module = download_module(find_go(cache, progress), _MODULE, PROMETHEUS_OPERATOR, workspace)
            copy = workspace / name
            copy.write_bytes(_crd_file(module.folder, plural).read_bytes())
            cache.install(_FOLDER, {name: copy}, executable=False)
    except SourceUnavailableError as error:
        raise BinaryError(
            f"cannot get the CRD {plural} of prometheus-operator {PROMETHEUS_OPERATOR}: {error}\n"
            f"To go on: connect this machine to the network (or set GOPROXY), or put the CRD into {target}."
        ) from error
    return target


def _crd_file(module_folder: Path, plural: str) -> Path:
    path = module_folder / _CRD_FOLDER / f"monitoring.coreos.com_{plural}.yaml"
    if not path.is_file():
        raise SourceUnavailableError(f"{_MODULE} {PROMETHEUS_OPERATOR} has no {path.name}")
    return path
