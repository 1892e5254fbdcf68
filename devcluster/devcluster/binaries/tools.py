"""Runs the tools that get programs (go, pip): bounded in time, ended with us, output kept."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from devcluster.binaries.cache import disk_full
from devcluster.binaries.errors import SourceUnavailableError
from devcluster.controlplane.processes import tied_to_parent

_NO_NETWORK = (
    "no such host",
    "could not resolve",
    "temporary failure",
    "connection refused",
    "network is unreachable",
    "i/o timeout",
    "name or service not known",
    "newconnectionerror",
    "tls handshake timeout",
)


@dataclass(frozen=True)
class ToolResult:
    """How a tool ended."""

    returncode: int
    output: str
    errors: str


def run_tool(
    arguments: tuple[str, ...], *, timeout_seconds: float, folder: Path, environment: Mapping[str, str] | None = None
) -> ToolResult:
    """Runs a tool in `folder` to its end.

    Raises:
        SourceUnavailableError: it cannot be started, or `timeout_seconds` are over.
    """
    with subprocess.Popen(
        tied_to_parent(arguments, signal.SIGTERM),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        text=True,
        errors="replace",
        start_new_session=True,
    ) as popen:
        try:
            output, errors = popen.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise SourceUnavailableError(f"{arguments[0]} took longer than {timeout_seconds:.0f} s") from error
        finally:
            _end_group(popen)
    return ToolResult(popen.returncode, output, errors)


def checked(result: ToolResult, what: str, folder: Path) -> str:
    """The output of a tool that must succeed.

    Raises:
        CacheError: the disk of `folder` is full.
        SourceUnavailableError: any other failure; one line with the tool's last words.
    """
    if result.returncode == 0:
        return result.output
    text = f"{result.errors}\n{result.output}"
    if "no space left on device" in text.lower():
        raise disk_full(folder)
    if any(sign in text.lower() for sign in _NO_NETWORK):
        raise SourceUnavailableError(f"{what}: no network ({_last_line(text)})")
    raise SourceUnavailableError(f"{what} failed: {_last_line(text)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def _end_group(popen: "subprocess.Popen[str]") -> None:
    # the compilers that go starts belong to its group and must not outlive an interrupted build
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
