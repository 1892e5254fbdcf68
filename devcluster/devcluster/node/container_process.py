"""One run of a container: its program behind the supervisor of devcluster.node.launch."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from devcluster.node.child_process import ChildProcess
from devcluster.node.launch.supervisor import Launch
from devcluster.node.pod_log import PodLog

_LAUNCHER = [sys.executable, "-I", "-S", str(Path(__file__).parent / "launch" / "__main__.py")]
_START_SECONDS = 30.0
_LARGEST_EXEC_OUTPUT_BYTES = 10 * 1024
TIMED_OUT_EXIT_CODE = 124


class StartError(RuntimeError):
    """The program could not be started; the message says why."""


@dataclass(frozen=True)
class ExecResult:
    """The end of a command that was run inside a container."""

    exit_code: int
    output: str


class ContainerProcess:
    """A running container. Made by ``start``."""

    def __init__(self, supervisor: ChildProcess, launch_file: Path, pid: int, log: PodLog) -> None:
        self.pid = pid
        self._supervisor, self._launch_file, self._log = supervisor, launch_file, log

    @classmethod
    async def start(cls, launch: Launch, launch_file: Path, log: PodLog) -> Self:
        """Starts the program that ``launch`` describes. Raises StartError."""
        _write_private(launch_file, json.dumps(asdict(launch)))
        reading, writing = os.pipe()
        argv = [*_LAUNCHER, "run", str(launch_file), str(writing), str(os.getpid())]
        try:
            supervisor = ChildProcess(argv, log.write, pass_descriptors=[writing])
        except OSError as error:
            os.close(reading)
            raise StartError(str(error)) from error
        finally:
            os.close(writing)
        pid, problem = await _report(reading)
        if problem or not pid:
            await supervisor.kill()
            raise StartError(problem or "the program did not start in time")
        return cls(supervisor, launch_file, pid, log)

    async def wait(self) -> int:
        """Waits for the end. Returns the exit code, 128 + n after signal n."""
        code = await self._supervisor.wait()
        self._log.close()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """SIGTERM to the container's first process, as container runtimes do."""
        self._supervisor.signal(signal.SIGTERM)

    def abandon(self) -> None:
        """Ends every process of the container without waiting for it."""
        self._supervisor.signal(signal.SIGUSR1)

    async def kill(self, timeout_seconds: float = 5.0) -> None:
        """Ends every process of the container at once."""
        self.abandon()
        try:
            await asyncio.wait_for(self.wait(), timeout_seconds)
        except TimeoutError:
            await self._supervisor.kill()

    async def execute(self, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """Runs ``command`` inside the container: its environment, files and process numbers."""
        output = bytearray()

        def keep(chunk: bytes) -> None:
            output.extend(chunk[: _LARGEST_EXEC_OUTPUT_BYTES - len(output)])

        child = ChildProcess([*_LAUNCHER, "enter", str(self._launch_file), str(self.pid), *command], keep)
        try:
            code = await asyncio.wait_for(child.wait(), timeout_seconds)
        except TimeoutError:
            return ExecResult(TIMED_OUT_EXIT_CODE, f"command timed out after {timeout_seconds:g}s")
        finally:
            if child.running:
                await child.kill()
        return ExecResult(code, output.decode(errors="replace"))


def _write_private(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)


async def _report(descriptor: int) -> tuple[int, str]:
    """The supervisor's report: the container's process id, and the reason if it could not be started."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb"))
    try:
        text = (await asyncio.wait_for(reader.read(), _START_SECONDS)).decode(errors="replace")
    except TimeoutError:
        return 0, f"the program did not start within {_START_SECONDS:g}s"
    finally:
        transport.close()
    lines = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return int(lines.get("pid", "0")), lines.get("error", "")


async def isolation_problem(base: Path) -> str | None:
    """Why containers cannot have namespaces here; None when they can. ``base`` is an existing empty folder."""
    output = bytearray()
    child = ChildProcess([*_LAUNCHER, "check", str(base)], output.extend)
    try:
        code = await asyncio.wait_for(child.wait(), _START_SECONDS)
    except TimeoutError:
        await child.kill()
        return "the check did not end in time"
    return None if code == 0 else output.decode(errors="replace").strip() or f"exit code {code}"
