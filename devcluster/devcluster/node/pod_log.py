"""A container's output on disk, in at most two files of a bounded size."""

from pathlib import Path
from typing import BinaryIO

LARGEST_BYTES = 10 * 1024 * 1024


class PodLog:
    """Appends to ``path``; when it is full it becomes ``path`` + ".1" and a new one begins."""

    def __init__(self, path: Path, largest_bytes: int = LARGEST_BYTES) -> None:
        self._path, self._largest_bytes = path, largest_bytes
        self._file: BinaryIO | None = None

    def write(self, chunk: bytes) -> None:
        """Appends ``chunk`` at once; a full disk loses it rather than the container."""
        try:
            file = self._open()
            file.write(chunk)
            if file.tell() >= self._largest_bytes:
                self._rotate()
        except OSError:
            self.close()

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        return self._file

    def _rotate(self) -> None:
        self.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))

    def close(self) -> None:
        """Closes the file; a later write opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def tail(path: Path, limit_bytes: int = 2048) -> str:
    """The end of a log file, for messages."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit_bytes))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
