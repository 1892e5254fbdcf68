"""The load generator as a child process of the demo: steered by a line of JSON, watched through its status file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from devcluster.controlplane.processes import tied_to_parent
from devcluster.demo.observation import LoadStatus

MAX_SECONDS = 1200
STOP_SECONDS = 30
INSPECTOR_SHARE = "0.25"


class LoadProcess:
    """Numbered H.264 and VP8 clips to one service. A context manager; leaving it ends the sessions and the process."""

    def __init__(self, url: str, folder: Path, stages: Sequence[Mapping[str, Any]]) -> None:
        """Args:
        url: base of the signalling service.
        folder: for log, status and report.
        stages: the effects that the returned pictures must show.
        """
        self.report_path = folder / "load-report.json"
        self.log_path = folder / "load.log"
        self._status_path = folder / "load-status.json"
        self._url = url
        self._stages = stages
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def __enter__(self) -> Self:
        self._log = self.log_path.open("w")
        command = (
            *(sys.executable, "-m", "devcluster.load.cli", "run", "--url", self._url, "--profile", "step:0"),
            *("--hold-seconds", str(MAX_SECONDS), "--max-seconds", str(MAX_SECONDS), "--report", str(self.report_path)),
            *("--status-file", str(self._status_path), "--stages", json.dumps(list(self._stages)), "--control-stdin"),
            *("--inspector-share", INSPECTOR_SHARE),
        )
        self._process = subprocess.Popen(
            tied_to_parent(command), stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def want(self, sessions: int) -> None:
        """Asks for this many sessions. Raises BrokenPipeError when the generator has ended."""
        self._tell({"sessions": sessions})

    def mark_overload(self, start_time: float, end_time: float) -> None:
        """Frames sent between these times (seconds of the Unix epoch) are reported as inside the overload."""
        self._tell({"overload": [start_time, end_time]})

    def _tell(self, wish: Mapping[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(wish) + "\n")
            self._process.stdin.flush()

    def status(self) -> LoadStatus:
        """The newest status; zeros before the first one."""
        try:
            found = json.loads(self._status_path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return LoadStatus()
        return LoadStatus(
            wanted=found["wanted"],
            connected=found["connected"],
            rejected=found["sessionsRejected"],
            frames_sent=found["framesSent"],
            frames_returned=found["framesReturned"],
            ended_by_server=found["endedByServer"],
            effect_missing=found["verdicts"].get("not-seen", 0),
            round_trip_p95_milliseconds=found["roundTripMilliseconds"]["p95"],
        )

    def finish(self) -> None:
        """Closes the sessions, ends the process, and leaves the report."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=STOP_SECONDS)  # the end of its input ends the run
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._log is not None:
            self._log.close()

    def report(self) -> dict[str, Any]:
        """The report of a finished run. Raises FileNotFoundError when the generator died before writing it."""
        found: dict[str, Any] = json.loads(self.report_path.read_text())
        return found
