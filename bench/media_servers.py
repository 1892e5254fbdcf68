"""Starts the mediapod and its peers for the benchmarks, each alone on one core, and reads what they use."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

OURS, STOCK, BGR24 = "mediapod", "stock aiortc 1.16", "aiortc + bgr24 round trip"
BLUR, PLAIN_HTTP = "aiortc + bgr24 + OpenCV", "aiohttp + OpenCV in the handler"
PEER_KINDS = {STOCK: "stock", BGR24: "bgr24", BLUR: "blur", PLAIN_HTTP: "stock"}
SERVER_CORE, CLIENT_CORE = 0, 1
READY_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
# Effects are measured by bench/effects.py; this is about the way there and back, so the picture stays as it is and the
# short cut for unchanged pictures is off unless a row says otherwise.
UNCHANGED = {"MEDIAPOD_STAGES": "[]", "MEDIAPOD_FORWARD_UNCHANGED": "false"}


@dataclass(frozen=True)
class Server:
    """A running service. admin_url is empty for the peers."""

    name: str
    url: str
    admin_url: str
    pid: int

    def cpu_seconds(self) -> float:
        """CPU time of the process so far, all threads, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_megabytes(self) -> float:
        """Resident memory now."""
        return _status_number(self.pid, "VmRSS") / 1024

    def threads(self) -> int:
        """Threads now."""
        return _status_number(self.pid, "Threads")

    def sockets(self) -> int:
        """Open sockets now."""
        found = 0
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found += entry.readlink().name.startswith("socket:")
            except OSError:  # closed meanwhile
                continue
        return found

    async def metrics(self) -> dict[str, float]:
        """The mediapod's metrics by name with labels, as Prometheus would read them; empty for the peers."""
        if not self.admin_url:
            return {}
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{self.admin_url}/metrics", timeout=10)).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in lines}


def _status_number(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)


@asynccontextmanager
async def serving(
    name: str, environment: Mapping[str, str] = UNCHANGED, *, core: int | None = SERVER_CORE
) -> AsyncIterator[Server]:
    """Start the service `name` on one core and end it with the block. core None: no pinning."""
    argv = [sys.executable, "-m", "mediapod"]
    if name != OURS:
        argv = [sys.executable, str(Path(__file__).with_name("media_peers.py")), PEER_KINDS[name]]
    base = {
        "PATH": os.environ["PATH"],
        "MEDIAPOD_BIND_ADDRESS": "127.0.0.1",
        "MEDIAPOD_HTTP_PORT": "0",
        "MEDIAPOD_ADMIN_PORT": "0",
        "MEDIAPOD_DEVICE": "CPU",
        "MEDIAPOD_GRACE_SECONDS": "6",
    }
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**base, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )
    drain: asyncio.Task[None] | None = None
    try:
        ready = await asyncio.wait_for(_ready_line(process), READY_SECONDS)
        drain = asyncio.create_task(_discard(process))
        admin = f"http://127.0.0.1:{ready['admin_port']}" if "admin_port" in ready else ""
        yield Server(name, f"http://127.0.0.1:{ready['http_port']}", admin, process.pid)
    finally:
        await _end(process)
        if drain is not None:
            await drain


async def _ready_line(process: asyncio.subprocess.Process) -> dict[str, int]:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        entry: dict[str, int] = json.loads(line)
        if "http_port" in entry:
            return entry
    raise RuntimeError("the server ended before it was ready")


async def _discard(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while await process.stdout.read(1 << 16):
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()
