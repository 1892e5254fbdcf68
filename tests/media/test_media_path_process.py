"""The real process: `python -m mediapod` serves, drains on SIGTERM and exits."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator

import httpx
import pytest

pytestmark = pytest.mark.media


class Process:
    """A started mediapod process."""

    def __init__(self, running: asyncio.subprocess.Process, url: str, admin_url: str) -> None:
        self.running, self.url, self.admin_url = running, url, admin_url

    def terminate(self) -> None:
        """Ask it to drain and exit."""
        self.running.send_signal(signal.SIGTERM)


@pytest.fixture
async def launch() -> AsyncIterator[object]:
    """`await launch(MEDIAPOD_GRACE_SECONDS="8", ...)` starts a mediapod process on free ports and waits until it is
    ready.
    """
    processes: list[asyncio.subprocess.Process] = []

    async def start(**environment: str) -> Process:
        base = {"MEDIAPOD_BIND_ADDRESS": "127.0.0.1", "MEDIAPOD_HTTP_PORT": "0", "MEDIAPOD_ADMIN_PORT": "0"}
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mediapod",
            env={"PATH": os.environ["PATH"], "MEDIAPOD_DEVICE": "CPU", **base, **environment},
            stdout=asyncio.subprocess.PIPE,
        )
        processes.append(running)
        ready = await asyncio.wait_for(_ready_line(running), 120)
        return Process(running, f"http://127.0.0.1:{ready['http_port']}", f"http://127.0.0.1:{ready['admin_port']}")

    yield start
    for running in processes:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def _ready_line(running: asyncio.subprocess.Process) -> dict[str, object]:
    assert running.stdout is not None
    while line := await running.stdout.readline():
        entry = json.loads(line)  # every line is JSON
        if entry["event"] == "mediapod ready":
            return entry
    raise AssertionError("the process ended before it was ready")


TRIES = 4


async def test_an_idle_process_exits_at_once_on_sigterm(launch):
    """Nothing goes on after the last line, for which a machine that is busy for a moment has some tries."""
    took = []
    while not took or (took[-1] >= 1 and len(took) < TRIES):
        process = await launch()
        process.terminate()
        assert process.running.stdout is not None
        stopped = 0.0
        while line := await asyncio.wait_for(process.running.stdout.readline(), 60):
            stopped = time.monotonic() if json.loads(line)["event"] == "mediapod stopped" else stopped
        assert await asyncio.wait_for(process.running.wait(), 60) == 0
        assert stopped > 0
        took.append(time.monotonic() - stopped)
        print(f"it ended {took[-1]:.2f} s after its last line")
    assert took[-1] < 1


async def test_sigterm_drains_and_the_process_exits_when_its_last_session_has_ended(launch, connect_to):
    process = await launch(MEDIAPOD_GRACE_SECONDS="120")
    client = await connect_to(process.url)
    await client.wait_for(5)
    process.terminate()
    async with httpx.AsyncClient() as http:
        for _ in range(1000):
            ready = await http.get(f"{process.admin_url}/readyz")
            if ready.status_code == 503:
                break
            await asyncio.sleep(0.05)
        assert ready.json()["reasons"] == ["draining"]
    await client.wait_for(len(client.returned) + 10)
    assert process.running.returncode is None
    await client.close()
    assert await asyncio.wait_for(process.running.wait(), 90) == 0


async def test_the_grace_period_ends_a_session_that_stays(launch, connect_to):
    process = await launch(MEDIAPOD_GRACE_SECONDS="6")
    client = await connect_to(process.url)
    await client.wait_for(5)
    process.terminate()
    assert await asyncio.wait_for(process.running.wait(), 90) == 0


async def test_a_taken_port_is_named_with_its_setting():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {
            "PATH": os.environ["PATH"],
            "MEDIAPOD_DEVICE": "CPU",
            "MEDIAPOD_BIND_ADDRESS": "127.0.0.1",
            "MEDIAPOD_HTTP_PORT": str(taken.getsockname()[1]),
        }
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mediapod", env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, stderr = await asyncio.wait_for(running.communicate(), 120)
    assert running.returncode == 1
    assert b"MEDIAPOD_HTTP_PORT" in stderr
