"""Child processes that never outlive their purpose: recorded, logged, ended by process id, tied to their parent.

A record is a process id with its start time, because ids are reused: whoever cleans up after a crash must not end a
stranger. `ProcessTable` keeps the records of one data folder in `processes.json`.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")
STOP_TIMEOUT_SECONDS = 10.0
KILL_TIMEOUT_SECONDS = 30.0  # a crowded machine takes its time to free a killed server
POLL_SECONDS = 0.02
TAIL_LINES = 15
_TAIL_BYTES = 64 * 1024

# The kernel ties a child to the *thread* that forked it. This one lives as long as the interpreter, whichever
# short-lived worker thread asks for the child.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessError(Exception):
    """A child process ended too early or did not get ready; the message ends with its last log lines."""


@dataclass(frozen=True)
class Command:
    """What to run. `environment` is added to the parent's."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: Path | None = None


@dataclass(frozen=True)
class ProcessRecord:
    """A running process that cannot be confused with a later one of the same id."""

    name: str
    pid: int
    start_ticks: int
    log: str

    def alive(self) -> bool:
        """Whether exactly this process is still running (a zombie is not)."""
        return _start_ticks(self.pid) == self.start_ticks


class ProcessTable:
    """The records of one data folder, shared by everything that starts processes for it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "processes.json"

    def read(self) -> list[ProcessRecord]:
        """All records, running or not."""
        try:
            content = json.loads(self._path.read_text())
        except FileNotFoundError:
            return []
        return [ProcessRecord(**entry) for entry in content["processes"]]

    def find(self, name: str) -> ProcessRecord | None:
        """The record of one process, or None."""
        return next((record for record in self.read() if record.name == name), None)

    def add(self, record: ProcessRecord) -> None:
        """Adds a record; one of the same name is replaced."""
        with self._locked():
            self._write([other for other in self.read() if other.name != record.name] + [record])

    def remove(self, record: ProcessRecord) -> None:
        """Removes exactly this record."""
        with self._locked():
            self._write([other for other in self.read() if other != record])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as handle:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX)  # held for one small write
            yield

    def _write(self, records: list[ProcessRecord]) -> None:
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"processes": [asdict(record) for record in records]}, indent=1))
        temporary.replace(self._path)


class ChildProcess:
    """A process this interpreter started, in a session of its own, with its output in a log file."""

    def __init__(self, popen: "subprocess.Popen[bytes]", record: ProcessRecord, table: ProcessTable) -> None:
        self._popen = popen
        self._table = table
        self.record = record

    @property
    def name(self) -> str:
        """Its name in the table."""
        return self.record.name

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self.record.pid

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return Path(self.record.log)

    def alive(self) -> bool:
        """Whether it is running."""
        return not _exited(self.pid, self._popen)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """SIGTERM to its group, SIGKILL after `timeout_seconds`; returns when it is gone. Harmless when repeated."""
        if self._popen.returncode is None:
            _signal_group(self.pid, signal.SIGTERM)
            wait_until(lambda: not self.alive(), timeout_seconds)
            # still unreaped, so the group's id cannot belong to anyone else; this also ends what it left behind
            _signal_group(self.pid, signal.SIGKILL)
            self._popen.wait(timeout=KILL_TIMEOUT_SECONDS)
        self._table.remove(self.record)

    def kill(self) -> None:
        """SIGKILL to its group at once (fault tests); the record is removed."""
        self.stop(timeout_seconds=0)


def start_process(command: Command, data_dir: Path, *, tie_to_parent: bool = True) -> ChildProcess:
    """Starts a command with its output appended to `data_dir/logs/<name>.log` and records it.

    Args:
        command: what to run; its name is the name of the record and the log.
        data_dir: folder of the process table.
        tie_to_parent: the kernel ends it when this interpreter dies, even by SIGKILL. False lets it outlive us.

    Raises:
        ProcessError: the program cannot be run at all.
    """
    log = data_dir / "logs" / f"{command.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    popen = _spawner.submit(_spawn, command, log, tie_to_parent).result(timeout=30)
    record = ProcessRecord(command.name, popen.pid, _start_ticks(popen.pid) or 0, str(log))
    table = ProcessTable(data_dir)
    table.add(record)
    return ChildProcess(popen, record, table)


def tied_to_parent(arguments: tuple[str, ...], death_signal: signal.Signals = signal.SIGKILL) -> tuple[str, ...]:
    """The command line that runs `arguments` so that the kernel sends `death_signal` when this interpreter dies."""
    launcher = (sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(death_signal)))
    return launcher + arguments


def wait_until(condition: Callable[[], bool], timeout_seconds: float, poll_seconds: float = POLL_SECONDS) -> bool:
    """Polls until the condition holds or the time is over; says whether it holds."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll_seconds)
    return True


def log_tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log file, for error messages."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = handle.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def stop_recorded(
    data_dir: Path, names: Collection[str] | None = None, timeout_seconds: float = STOP_TIMEOUT_SECONDS
) -> list[str]:
    """Ends what is recorded in a data folder, by whomever it was started, newest first.

    A record whose process is gone, or whose id now belongs to another process, is only removed.

    Args:
        data_dir: folder of the process table.
        names: only these; all when None.
        timeout_seconds: for each process, between SIGTERM and SIGKILL.

    Returns:
        the names of the processes it ended.
    """
    table = ProcessTable(data_dir)
    chosen = [record for record in reversed(table.read()) if names is None or record.name in names]
    stopped = [record.name for record in chosen if _stop_record(record, timeout_seconds)]
    for record in chosen:
        if not record.alive():
            table.remove(record)
    return stopped


def _stop_record(record: ProcessRecord, timeout_seconds: float) -> bool:
    if not record.alive():
        return False
    _signal_group(record.pid, signal.SIGTERM)
    if not wait_until(lambda: not record.alive(), timeout_seconds) and record.alive():
        _signal_group(record.pid, signal.SIGKILL)
        wait_until(lambda: not record.alive(), KILL_TIMEOUT_SECONDS)
    return True


def _spawn(command: Command, log: Path, tie_to_parent: bool) -> "subprocess.Popen[bytes]":
    arguments = tied_to_parent(command.arguments) if tie_to_parent else command.arguments
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **command.environment},
                cwd=command.working_dir,
                start_new_session=True,  # a Ctrl-C in the terminal reaches us alone, and we end them in order
            )
    except OSError as error:
        raise ProcessError(f"cannot start {command.name} ({command.arguments[0]}): {error.strerror}") from error


def _exited(pid: int, popen: "subprocess.Popen[bytes]") -> bool:
    """Whether a child has ended, without reaping it: until then nobody else can get its id."""
    if popen.returncode is not None:
        return True
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _start_ticks(pid: int) -> int | None:
    """Start time in clock ticks since boot (field 22 of /proc/PID/stat); None for a zombie or no process."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = content[content.rindex(")") + 2 :].split()  # the name before may hold spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])
