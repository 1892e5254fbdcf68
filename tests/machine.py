"""What else went on on this machine: only who knows that may blame it for a measurement of real time."""

import os
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MACHINE_BUSY = (0, 1, 2, 7)  # user, nice, system, stolen by other virtual machines: fields of /proc/stat


class Others:
    """From its making on: how many processors everybody but this process and its children has used."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _machine_seconds(), _own_seconds()

    def processors(self) -> float:
        """The mean since the beginning."""
        seconds = max(0.001, time.monotonic() - self._began)
        return max(0.0, _machine_seconds() - self._busy - (_own_seconds() - self._own)) / seconds


def _machine_seconds() -> float:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(fields[index] for index in MACHINE_BUSY) / TICKS_PER_SECOND


def _own_seconds() -> float:
    """Of this process and all processes below it that are running."""
    parents, ticks = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(folder.name)], ticks[int(folder.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    return sum(ticks[one] for one in ticks if _is_below(one, parents)) / TICKS_PER_SECOND


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    while pid and pid != os.getpid():
        pid = parents.get(pid, 0)
    return bool(pid)
