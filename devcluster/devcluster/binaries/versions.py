"""Which version of each program is used, and why that one.

All of them are a few weeks old: module mirrors refuse brand-new versions for a while. They are changed together with a
run of the end-to-end tests.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

# One minor behind the operator's client library (kubernetes 37); a skew of one is supported.
KUBERNETES = "1.36.3"
# The etcd minor that Kubernetes 1.36 is released with.
ETCD = "3.6.16"
# The long-term-support line of Prometheus 3; as a Go module, version 3.x.y is called 0.30x.y. Newer modules need
# dependencies that mirrors do not hold yet.
PROMETHEUS = "3.5.1"
PROMETHEUS_MODULE = "0.305.1"
# Helm 3 is what most users render charts with; Helm 4 accepts the same chart.
HELM = "3.20.2"
# Kubernetes 1.36 needs Go 1.26.
GO = "1.26.6"
# The last version whose whole repository, with the CRD files, is one Go module on the mirrors.
PROMETHEUS_OPERATOR = "0.85.0"

# The newest on the mirrors that is a few weeks old.
KEDA = "2.20.2"
# The adapter that feeds Prometheus' values to HorizontalPodAutoscalers.
PROMETHEUS_ADAPTER = "0.12.0"

Version = tuple[int, int, int]
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


def parse_version(text: str) -> Version | None:
    """The first x.y.z in a program's answer, or None."""
    match = _VERSION.search(text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def _pinned(version: str) -> Version:
    parsed = parse_version(version)
    assert parsed is not None, version  # noqa: S101  a constant of this module
    return parsed


def same_minor(version: Version) -> bool:
    """Kubernetes servers must be of one minor: scheduler and controllers may not be newer than the API server."""
    return version[:2] == _pinned(KUBERNETES)[:2]


def kubectl_skew(version: Version) -> bool:
    """kubectl supports one minor of difference to the server in both directions."""
    major, minor, _ = _pinned(KUBERNETES)
    return version[0] == major and abs(version[1] - minor) <= 1


def at_least(*minimum: int) -> Callable[[Version], bool]:
    """A test that a version is not older than `minimum`."""
    return lambda version: version >= minimum


def helm_fits(version: Version) -> bool:
    """Helm 3 from the release that takes OCI charts without a flag, and Helm 4."""
    return (3, 8, 0) <= version < (5, 0, 0)


@dataclass(frozen=True)
class GoRecipe:
    """A program of a Go module: what to build and how."""

    module: str
    module_version: str
    package: str
    # import path prefix of modules that the module's own go.mod replaces by folders -> the version that stands for them
    folder_replacements: str = ""
    linker_flags: str = "-s -w"
    # path in the module -> content that takes its place; makes the build happen in a copy of the module's folder
    replaced_files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Binary:
    """A program this package can get."""

    name: str
    product: str
    version: str
    fits: Callable[[Version], bool] = field(compare=False)
    go: GoRecipe
    version_arguments: tuple[str, ...] = ("--version",)
    # an installed program must hold these bytes, as a sign that it was built with something we need
    needed_content: bytes = b""

    @property
    def folder(self) -> str:
        """Name of the cache folder that holds it."""
        return f"{self.product}-{self.version}"


def _kubernetes_linker_flags() -> str:
    major, minor, _ = _pinned(KUBERNETES)
    package = "k8s.io/component-base/version"
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return "-s -w " + " ".join(f"-X {package}.{key}={value}" for key, value in values.items())


def _kubernetes(
    name: str, fits: Callable[[Version], bool] = same_minor, version_arguments: tuple[str, ...] = ("--version",)
) -> Binary:
    recipe = GoRecipe(
        module="k8s.io/kubernetes",
        module_version=KUBERNETES,
        package=f"k8s.io/kubernetes/cmd/{name}",
        folder_replacements="0" + KUBERNETES[1:],  # staging modules of 1.36.3 are published as 0.36.3
        linker_flags=_kubernetes_linker_flags(),
    )
    return Binary(name, "kubernetes", KUBERNETES, fits, recipe, version_arguments)


def _etcd() -> Binary:
    module = "go.etcd.io/etcd/server/v3"
    recipe = GoRecipe(module, ETCD, module, folder_replacements=ETCD)
    return Binary("etcd", "etcd", ETCD, at_least(3, 5, 0), recipe)


# Prometheus' own way of choosing service discoveries is to generate this file. With Kubernetes alone, a quarter of the
# packages (the SDKs of the clouds) need not be built.
_PROMETHEUS_PLUGINS = """package plugins

import _ "github.com/prometheus/prometheus/discovery/kubernetes"
"""


def _prometheus(name: str) -> Binary:
    module = "github.com/prometheus/prometheus"
    recipe = GoRecipe(
        module,
        PROMETHEUS_MODULE,
        f"{module}/cmd/{name}",
        linker_flags=f"-s -w -X github.com/prometheus/common/version.Version={PROMETHEUS}",
        replaced_files=(("plugins/plugins.go", _PROMETHEUS_PLUGINS),),
    )
    # Debian's prometheus and promtool are built without Kubernetes discovery: they refuse the configuration
    needed = b"prometheus/discovery/kubernetes"
    return Binary(name, "prometheus", PROMETHEUS, at_least(2, 42, 0), recipe, needed_content=needed)


def _helm() -> Binary:
    flags = f"-s -w -X helm.sh/helm/v3/internal/version.version=v{HELM}"
    recipe = GoRecipe("helm.sh/helm/v3", HELM, "helm.sh/helm/v3/cmd/helm", linker_flags=flags)
    return Binary("helm", "helm", HELM, helm_fits, recipe, ("version", "--short"))


def _prometheus_adapter() -> Binary:
    module = "sigs.k8s.io/prometheus-adapter"
    recipe = GoRecipe(module, PROMETHEUS_ADAPTER, f"{module}/cmd/adapter")
    return Binary("prometheus-adapter", "prometheus-adapter", PROMETHEUS_ADAPTER, at_least(0, 11, 0), recipe)


def _keda(name: str, package: str) -> Binary:
    module = "github.com/kedacore/keda/v2"
    recipe = GoRecipe(module, KEDA, f"{module}/cmd/{package}", linker_flags=f"-s -w -X {module}/version.Version={KEDA}")
    return Binary(name, "keda", KEDA, at_least(2, 14, 0), recipe)


CATALOGUE: dict[str, Binary] = {
    binary.name: binary
    for binary in (
        _etcd(),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubectl", kubectl_skew, ("version", "--client")),
        _prometheus("prometheus"),
        _prometheus("promtool"),
        _helm(),
        _prometheus_adapter(),
        _keda("keda-operator", "operator"),
        _keda("keda-metrics-apiserver", "adapter"),
    )
}
KEDA_PROGRAMS = ("keda-operator", "keda-metrics-apiserver")
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
