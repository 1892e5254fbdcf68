"""Clients that come and go, half of them by kill -9, and what the service keeps of them.

As a program it is the group of clients that gets killed:  python bench/media_churn.py URL SESSIONS SECONDS
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass

import httpx
from media_load import clip_of, sessions
from media_servers import CLIENT_CORE, Server

GROUP_SESSIONS = 3
SETTLE_SECONDS = 25.0  # until what a killed client held must be free again


@dataclass(frozen=True)
class Footprint:
    """What a service holds."""

    memory_megabytes: float
    threads: int
    sockets: int
    sessions: int


async def footprint(server: Server) -> Footprint:
    """Look at the process and, for the mediapod, at its sessions."""
    memory, threads, sockets = round(server.memory_megabytes(), 1), server.threads(), server.sockets()
    held = 0
    if server.admin_url:
        async with httpx.AsyncClient() as http:
            listing = (await http.get(f"{server.admin_url}/sessions", timeout=10)).json()
        held = listing["active"] + listing["pending"]
    return Footprint(memory, threads, sockets, held)


async def churn(server: Server, seconds: float, seed: int = 0) -> int:
    """Start groups of clients for `seconds` and end them, every other by kill -9; returns how many were killed."""
    order, kill, killed, end = random.Random(seed), False, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        kill = not kill
        process = await asyncio.create_subprocess_exec(
            "taskset",
            "-c",
            str(CLIENT_CORE),
            sys.executable,
            __file__,
            server.url,
            str(GROUP_SESSIONS),
            "60" if kill else "1",
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 60)  # connected
        if kill:
            await asyncio.sleep(order.uniform(0.2, 1.0))
            process.kill()
            killed += GROUP_SESSIONS
        await asyncio.wait_for(process.wait(), 60)
    return killed


async def settled(server: Server, limit_seconds: float = SETTLE_SECONDS) -> tuple[Footprint, float]:
    """The footprint once no session is left, and how long that took."""
    started = time.monotonic()
    while (now := await footprint(server)).sessions and time.monotonic() - started < limit_seconds:  # noqa: ASYNC110  asks
        await asyncio.sleep(0.25)
    took = time.monotonic() - started
    await asyncio.sleep(1.0)  # threads end off the loop
    return await footprint(server) if not now.sessions else now, took


def describe(before: Footprint, after: Footprint) -> str:
    """Both in one line."""
    return f"before {json.dumps(asdict(before))}, after {json.dumps(asdict(after))}"


async def _group(url: str, count: int, seconds: float) -> None:
    server = Server("", url, "", 0)
    async with sessions(server, clip_of("360p", "H264"), count):
        sys.stdout.write("connected\n")
        sys.stdout.flush()
        await asyncio.sleep(seconds)


if __name__ == "__main__":
    asyncio.run(_group(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
