"""Folders whose files change all at once, in the layout of the kubelet's volumes (``..data`` and symbolic links)."""

import os
import shutil
import tempfile
from pathlib import Path

from devcluster.node.payload import Files

_DATA = "..data"


def publish(folder: Path, files: Files) -> bool:
    """Make ``folder`` show exactly ``files``; readers see the old or the new set, never a mixture.

    Returns False when nothing differed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _current(folder) == {path: file.content for path, file in files.items()}:
        return False
    version = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    version.chmod(0o755)
    for path, file in files.items():
        _write(version / path, file.content, file.mode)
    former = (folder / _DATA).resolve() if (folder / _DATA).exists() else None
    _point(folder / _DATA, version.name)
    _link_names(folder, {Path(path).parts[0] for path in files})
    if former:
        shutil.rmtree(former, ignore_errors=True)
    return True


def _current(folder: Path) -> dict[str, bytes] | None:
    data = folder / _DATA
    if not data.exists():
        return None
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _point(link: Path, target: str) -> None:
    temporary = link.with_name(f"{link.name}_tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def _link_names(folder: Path, names: set[str]) -> None:
    for name in names:
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
