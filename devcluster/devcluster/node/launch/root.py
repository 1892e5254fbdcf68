"""A private view of the file system in which volumes appear at their paths.

The new root is a tmpfs that shows every entry of the host's root folder by a bind mount. A folder in which a mount
point is missing is replaced in the view by a tmpfs that shows its entries one by one ("opened"), so that the mount
point can be made without writing to the host.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from devcluster.node.launch import linux

_OLD = "/old"
_NEW = "/new"
_PIVOT = ".pivot"


@dataclass(frozen=True)
class Mount:
    """Host path ``source`` (file or folder) to be seen at ``target``; both absolute and free of symbolic links."""

    source: str
    target: str
    read_only: bool = False


def resolved(mounts: list[Mount]) -> list[Mount]:
    """The mounts with symbolic links followed, outer targets first."""
    real = [Mount(os.path.realpath(m.source), os.path.realpath(m.target), m.read_only) for m in mounts]
    return sorted(real, key=lambda m: m.target.count("/"))


def inside(path: str, folder: str) -> bool:
    """Whether ``path`` lies below ``folder``."""
    return path.startswith(folder.rstrip("/") + "/")


def folders_to_open(targets: list[str]) -> list[str]:
    """The existing host folders in which a component of some target is missing, outermost first.

    Targets inside another target are left out: they are made in that volume.
    """
    outer = [t for t in targets if not any(inside(t, other) for other in targets)]
    found = {_last_existing(target) for target in outer if not os.path.lexists(target)}
    return sorted(found - {"/"}, key=lambda folder: folder.count("/"))


def covered_paths(kept: list[str], targets: list[str]) -> list[str]:
    """Those of ``kept`` that lie inside a target, outermost first and none inside another."""
    covered = {path for path in kept if any(inside(path, target) for target in targets)}
    return sorted(path for path in covered if not any(inside(path, other) for other in covered))


def _last_existing(path: str) -> str:
    while not os.path.lexists(path):
        path = os.path.dirname(path)  # noqa: PTH120  plain strings, for the sake of start-up time
    return path


def compose(base: str, mounts: list[Mount], kept: list[str]) -> None:
    """Replace this process's root by the view with ``mounts``. ``base`` is any empty folder.

    Host paths in ``kept`` stay visible when a volume covers them (a /tmp volume where Python itself lives in /tmp).
    Needs a mount namespace of its own. Raises OSError where the system refuses.
    """
    mounts, kept = resolved(mounts), [os.path.realpath(path) for path in kept]
    covered = covered_paths(kept, [m.target for m in mounts])
    opened = folders_to_open([m.target for m in mounts])
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    _step_aside(base)
    linux.mount("tmpfs", _NEW, "tmpfs", 0, "mode=755")
    _show_entries("/")
    for folder in opened:
        _open(folder)
    for mount in mounts:
        _attach(mount)
    for path in covered:
        _attach(Mount(path, path))
    with contextlib.suppress(OSError):  # refused where /proc is partly hidden; the host's /proc does as well
        linux.mount("proc", _NEW + "/proc", "proc", 0)
    _enter_new_root()


def _step_aside(base: str) -> None:
    """Move the host's root to /old, so that binding it into /new can never bind /new into itself."""
    linux.mount("tmpfs", base, "tmpfs", 0, "mode=755")
    for folder in (_OLD, _NEW):
        Path(base + folder).mkdir()
    linux.pivot_root(base, base + _OLD)
    os.chdir("/")


def _open(folder: str) -> None:
    mode = Path(_OLD + folder).stat().st_mode & 0o7777
    linux.mount("tmpfs", _NEW + folder, "tmpfs", 0, f"mode={mode:o}")
    _show_entries(folder)


def _show_entries(folder: str) -> None:
    with os.scandir(_OLD + folder) as entries:
        for entry in entries:
            _show(entry, os.path.join(_NEW + folder, entry.name))  # noqa: PTH118  joins with "/" rightly for the root


def _show(entry: os.DirEntry[str], target: str) -> None:
    if entry.is_symlink():
        Path(target).symlink_to(Path(entry.path).readlink())
        return
    _make_point(target, is_folder=entry.is_dir())
    linux.bind(entry.path, target)


def _make_point(target: str, *, is_folder: bool) -> None:
    if is_folder:
        Path(target).mkdir(parents=True, exist_ok=True)
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).touch()


def _attach(mount: Mount) -> None:
    source, target = _OLD + mount.source, _NEW + mount.target
    if not os.path.lexists(target):
        _make_point(target, is_folder=Path(source).is_dir())
    linux.bind(source, target, read_only=mount.read_only)


def _enter_new_root() -> None:
    old = f"{_NEW}/{_PIVOT}"
    Path(old).mkdir()
    linux.pivot_root(_NEW, old)
    os.chdir("/")
    linux.detach("/" + _PIVOT)
    Path("/" + _PIVOT).rmdir()
