"""CustomResourceDefinitions of other projects, taken from their Go modules and never kept in this repository."""

from dataclasses import dataclass
from pathlib import Path

from devcluster.binaries.cache import Cache, default_cache_dir
from devcluster.binaries.errors import BinaryError, SourceUnavailableError
from devcluster.binaries.gomodules import download_module
from devcluster.binaries.gotoolchain import find_go
from devcluster.binaries.progress import Lines, Progress
from devcluster.binaries.versions import KEDA, PROMETHEUS_OPERATOR


@dataclass(frozen=True)
class _Publisher:
    """A Go module that holds CRDs: where, and how their files are named."""

    product: str
    module: str
    version: str
    file: str

    @property
    def folder(self) -> str:
        return f"{self.product}-{self.version}"


_MONITORING = _Publisher(
    "prometheus-operator",
    "github.com/prometheus-operator/prometheus-operator",
    PROMETHEUS_OPERATOR,
    "example/prometheus-operator-crd/monitoring.coreos.com_{}.yaml",
)
_KEDA = _Publisher("keda", "github.com/kedacore/keda/v2", KEDA, "config/crd/bases/keda.sh_{}.yaml")
_KEDA_EVENTING = _Publisher("keda", "github.com/kedacore/keda/v2", KEDA, "config/crd/bases/eventing.keda.sh_{}.yaml")
# Everything that KEDA's operator watches; it does not start without one of them.
KEDA_KINDS = {
    "scaledobjects": _KEDA,
    "scaledjobs": _KEDA,
    "triggerauthentications": _KEDA,
    "clustertriggerauthentications": _KEDA,
    "cloudeventsources": _KEDA_EVENTING,
    "clustercloudeventsources": _KEDA_EVENTING,
}


def crd_manifests(plural: str, *, cache_dir: Path | None = None, progress: Progress | None = None) -> Path:
    """A YAML file with the CRD of a kind of monitoring.coreos.com, for example `servicemonitors`, or of KEDA
    (KEDA_KINDS).

    Raises:
        BinaryError: the module cannot be had, or has no such CRD.
    """
    publisher = KEDA_KINDS.get(plural, _MONITORING)
    cache, shown = Cache(cache_dir or default_cache_dir()), progress or Lines()
    name = f"{plural}.yaml"
    found = cache.find(publisher.folder, name)
    if found is None:
        with cache.locked(publisher.folder, shown):
            found = cache.find(publisher.folder, name) or _fetch(cache, publisher, plural, shown)
    return found


def _fetch(cache: Cache, publisher: _Publisher, plural: str, progress: Progress) -> Path:
    name = f"{plural}.yaml"
    target = cache.root / publisher.folder / name
    try:
        with progress.step(f"fetching the CRD {plural} (Go module)"), cache.workspace(publisher.folder) as workspace:
            module = download_module(find_go(cache, progress), publisher.module, publisher.version, workspace)
            copy = workspace / name
            copy.write_bytes(_crd_file(module.folder, publisher, plural).read_bytes())
            cache.install(publisher.folder, {name: copy}, executable=False)
    except SourceUnavailableError as error:
        raise BinaryError(
            f"cannot get the CRD {plural} of {publisher.product} {publisher.version}: {error}\n"
            f"To go on: connect this machine to the network (or set GOPROXY), or put the CRD into {target}."
        ) from error
    return target


def _crd_file(module_folder: Path, publisher: _Publisher, plural: str) -> Path:
    path = module_folder / publisher.file.format(plural)
    if not path.is_file():
        raise SourceUnavailableError(f"{publisher.module} {publisher.version} has no {path.name}")
    return path
