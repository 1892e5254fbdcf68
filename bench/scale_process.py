"""A process under test: started, ended, and asked what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class Measured:
    """A running program. Its output goes to `log`."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as out:
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=out, stderr=subprocess.STDOUT
            )

    def check(self) -> None:
        """Raises RuntimeError with the end of the log when the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise RuntimeError(f"{self.log.stem} ended with {code}:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """SIGTERM, and waits."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and waits."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)

    def memory_megabytes(self) -> float:
        """Resident memory now."""
        return self._status_megabytes("VmRSS:")

    def peak_memory_megabytes(self) -> float:
        """The most that was resident so far."""
        return self._status_megabytes("VmHWM:")

    def _status_megabytes(self, name: str) -> float:
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """CPU time so far, user and system, all threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
