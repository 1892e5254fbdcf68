"""The cache folder: one folder a product and version, written atomically under a lock that dies with its holder."""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from devcluster.binaries.errors import CacheBusyError, CacheError
from devcluster.binaries.progress import Progress

LOCK_TIMEOUT_SECONDS = 1800.0  # longer than the slowest build from source on a small machine
LOCK_POLL_SECONDS = 0.2
_TEMPORARY_PREFIX = ".tmp-"


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/rtcscale-devcluster`, or below `~/.cache` when that is not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "rtcscale-devcluster"


class Cache:
    """Programs and files below one folder: `<product>-<version>/<name>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, folder: str, name: str) -> Path | None:
        """The cached file, or None."""
        path = self.root / folder / name
        return path if path.is_file() else None

    @contextmanager
    def locked(self, folder: str, progress: Progress) -> Iterator[None]:
        """Holds the folder's lock, so that two runs do not build the same thing twice."""
        self._prepare()
        with (self.root / f"{folder}.lock").open("w") as handle:
            if not _try_lock(handle.fileno()):
                with progress.step(f"waiting for another run that is getting {folder}"):
                    _wait_for_lock(handle.fileno(), folder)
            self._remove_leftovers(folder)
            yield

    @contextmanager
    def workspace(self, folder: str) -> Iterator[Path]:
        """A temporary folder on the cache's own disk (so that a rename installs), removed at the end."""
        with disk_errors(self.root):
            self._prepare()
            path = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY_PREFIX}{folder}-", dir=self.root))
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)

    def install(self, folder: str, files: Mapping[str, Path], *, executable: bool = True) -> None:
        """Moves finished files into the folder; a reader sees a whole file or none."""
        with disk_errors(self.root):
            target = self.root / folder
            target.mkdir(parents=True, exist_ok=True)
            for name, path in files.items():
                path.chmod(0o755 if executable else 0o644)
                path.replace(target / name)

    def _prepare(self) -> None:
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)

    def _remove_leftovers(self, folder: str) -> None:
        # only the holder of the lock writes below this prefix, so these belong to a run that was killed
        for path in self.root.glob(f"{_TEMPORARY_PREFIX}{folder}-*"):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full or read-only disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            message = f"cannot write to {folder}: {error.strerror}. Set XDG_CACHE_HOME to a folder of yours."
            raise CacheError(message) from error
        raise


def disk_full(folder: Path) -> CacheError:
    """The error for a full disk, with the space that is left."""
    free_mebibytes = 0
    with suppress(OSError):
        free_mebibytes = shutil.disk_usage(folder).free // 2**20
    return CacheError(
        f"no space left on the disk of {folder} ({free_mebibytes} MiB free). "
        "Free some space, or set XDG_CACHE_HOME (and GOCACHE, GOMODCACHE for builds) to folders on a larger disk."
    )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_lock(descriptor: int, folder: str) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            raise CacheBusyError(
                f"another run has been getting {folder} for {LOCK_TIMEOUT_SECONDS:.0f} s; end it and start again"
            )
        time.sleep(LOCK_POLL_SECONDS)
