"""Finds, downloads or builds the programs of the local cluster, into a cache folder of the user."""

from devcluster.binaries.crds import KEDA_KINDS, crd_manifests
from devcluster.binaries.errors import BinaryError, BinaryUnavailableError, CacheBusyError, CacheError, ChecksumError
from devcluster.binaries.progress import Lines, Progress, Quiet
from devcluster.binaries.sources import ensure
from devcluster.binaries.versions import CATALOGUE, CONTROL_PLANE, KEDA_PROGRAMS

__all__ = [
    "CATALOGUE",
    "CONTROL_PLANE",
    "KEDA_KINDS",
    "KEDA_PROGRAMS",
    "BinaryError",
    "BinaryUnavailableError",
    "CacheBusyError",
    "CacheError",
    "ChecksumError",
    "Lines",
    "Progress",
    "Quiet",
    "crd_manifests",
    "ensure",
]
