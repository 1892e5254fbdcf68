"""How many pods stay empty, how full the fullest is, how many offers are refused: packing, spreading, random choice.

    python bench/placement.py [--pods 6] [--capacity 10] [--load 0.4] [--load 0.8] [--steps 200]

Real mediapods in one process, signalling over loopback. Offers go to a random pod, as kube-proxy would send them. The
fleet is filled to the load and then, in each step, a random session ends and a new offer comes: an offer that is
refused is lost, as a user's would be. Nobody connects, so sessions cost nothing and count as measured at once: the
fill share alone says when a pod has no room. All ways see the same random numbers. Writes build/bench/placement.json.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection
from rich.console import Console
from rich.table import Table

from mediapod.observability.logs import configure_logs
from mediapod.service import Mediapod
from mediapod.session import room, state
from mediapod.settings import Settings

LONGEST_WAIT_SECONDS = 3600.0  # nobody connects: a session lasts until it is deleted
PACKED, SPREAD, RANDOM = "packing", "spreading", "random pod"
FILL_PERCENT = {PACKED: 75, SPREAD: 0}  # of MEDIAPOD_PLACEMENT_FILL_PERCENT; RANDOM knows no peers


@dataclass
class Outcome:
    """What one run saw."""

    spreads: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    offers: int = 0
    refused: int = 0
    seconds: list[float] = field(default_factory=list)


class Fleet:
    """Some pods, and the sessions that are open on them."""

    def __init__(self, pods: list[Mediapod], randomness: random.Random, sdp: str) -> None:
        self._pods, self._random, self._sdp = pods, randomness, sdp
        self._http = httpx.AsyncClient(timeout=30)
        self._locations: list[str] = []

    async def offer(self, outcome: Outcome) -> None:
        """One offer at a random pod."""
        body = {"sdp": self._sdp, "type": "offer"}
        began = time.monotonic()
        answer = await self._http.post(f"{self._any_pod()}/webrtc/offer", json=body)
        while answer.status_code == 429:  # more at once than the pod's token bucket lets in: no matter of placement
            await asyncio.sleep(0.2)
            began = time.monotonic()
            answer = await self._http.post(f"{self._any_pod()}/webrtc/offer", json=body)
        outcome.seconds.append(time.monotonic() - began)
        outcome.offers += 1
        if answer.status_code == 200:
            self._locations.append(answer.headers["location"])
        else:
            outcome.refused += 1

    async def end_one(self) -> None:
        """A random session ends, through its owner."""
        location = self._locations.pop(self._random.randrange(len(self._locations)))
        owner = location.removeprefix("/session/").partition("-")[0]
        pod = next(pod for pod in self._pods if pod.placement.owner == owner)
        await self._http.delete(f"http://127.0.0.1:{pod.http.port}{location}")

    async def fill(self, sessions: int, outcome: Outcome) -> None:
        """Offers until so many sessions are open."""
        while len(self._locations) < sessions:
            await self.offer(outcome)

    def look(self, outcome: Outcome) -> None:
        """Sessions on the fullest pod less those on the emptiest, and pods without any."""
        taken = [len(pod.registry.sessions) for pod in self._pods]
        outcome.spreads.append(max(taken) - min(taken))
        outcome.empty.append(taken.count(0))

    async def close(self) -> None:
        """Close the client."""
        await self._http.aclose()

    def _any_pod(self) -> str:
        return f"http://127.0.0.1:{self._random.choice(self._pods).http.port}"


async def run(options: argparse.Namespace, load: float, way: str, folder: str, sdp: str) -> Outcome:
    """One run."""
    peers = f"{folder}/{way}" if way in FILL_PERCENT else ""
    values = settings(options.capacity, peers, FILL_PERCENT.get(way, 0))
    pods = [Mediapod(values) for _ in range(options.pods)]
    for pod in pods:
        await pod.start()
    if peers:
        Path(peers).write_text("\n".join(f"127.0.0.1:{pod.admin.port}" for pod in pods))  # noqa: ASYNC240  once
    fleet, outcome = Fleet(pods, random.Random(options.seed), sdp), Outcome()
    wanted = round(options.pods * options.capacity * load)
    try:
        await fleet.fill(wanted, Outcome())
        for _ in range(options.steps):
            await fleet.end_one()
            await asyncio.sleep(options.pause)
            await fleet.offer(outcome)
            fleet.look(outcome)
            await fleet.fill(wanted, Outcome())  # a refused user is lost; the load is kept all the same
    finally:
        await fleet.close()
        await asyncio.gather(*(pod.stop() for pod in pods))
    return outcome


def settings(capacity: int, peers: str, fill_percent: int) -> Settings:
    """Of one pod."""
    values: dict[str, Any] = {
        "MEDIAPOD_BIND_ADDRESS": "127.0.0.1",
        "MEDIAPOD_HTTP_PORT": 0,
        "MEDIAPOD_ADMIN_PORT": 0,
        "MEDIAPOD_DEVICE": "CPU",
        "MAX_SESSIONS_PER_POD": capacity,
        "WEBRTC_TIMEOUT": LONGEST_WAIT_SECONDS,
        "MEDIAPOD_PEERS": peers,
        "MEDIAPOD_PLACEMENT_FILL_PERCENT": fill_percent,
    }
    return Settings(**values)


async def offer_sdp() -> str:
    """An offer of a peer that never connects: without candidates, so that nothing is sent."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="sendrecv")
    await connection.setLocalDescription(await connection.createOffer())
    sdp = connection.localDescription.sdp
    await connection.close()
    return "".join(f"{line}\r\n" for line in sdp.splitlines() if not line.startswith("a=candidate"))


def rows(found: dict[str, Outcome], load: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a measure; ours is packing."""
    where = f"{options.pods} pods of {options.capacity}, load {load:.0%}"
    offers = ", ".join(f"{outcome.offers}" for outcome in found.values())

    def row(measure: str, unit: str, value: Callable[[Outcome], float], note: str = "") -> dict[str, Any]:
        values = {way: round(value(outcome), 2) for way, outcome in found.items()}
        direction = "higher" if measure.startswith("empty") else "lower"
        result = {"measure": f"{measure} ({where})", "unit": unit, "direction": direction}
        result |= {"ours": values[PACKED], "spread": None}
        return result | {"peers": {way: values[way] for way in (SPREAD, RANDOM)}, "target": None, "note": note}

    return [
        row("empty pods, mean", "pods", lambda one: statistics.mean(one.empty), "what scaling down can take at once"),
        row("sessions, fullest less emptiest pod, mean", "sessions", lambda one: statistics.mean(one.spreads)),
        row("offers refused", "%", lambda one: 100 * one.refused / max(1, one.offers), f"of {offers}"),
        row("offer to answer, p95", "ms", tail_milliseconds, "client and all pods share one event loop"),
    ]


def tail_milliseconds(outcome: Outcome) -> float:
    """95th percentile."""
    return 1000 * statistics.quantiles(outcome.seconds, n=20)[-1]


def report(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """The file's content."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    rig = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()}
    rig["versions"] = {"python": platform.python_version()}
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"benchmark": "placement", "date": date, "commit": commit.stdout.strip(), "rig": rig, "rows": measured}


def show(measured: list[dict[str, Any]]) -> None:
    """Print a table."""
    table = Table("measure", "unit", PACKED, SPREAD, RANDOM, "note")
    for row in measured:
        peers = row["peers"]
        table.add_row(row["measure"], row["unit"], *map(str, (row["ours"], peers[SPREAD], peers[RANDOM])), row["note"])
    Console().print(table)


def main() -> None:
    """Run all ways, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pods", type=int, default=6)
    parser.add_argument("--capacity", type=int, default=10)
    parser.add_argument("--load", type=float, action="append", help="share of all places; 0.4 and 0.8 unless given")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between an end and the next offer")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    configure_logs("ERROR", "text")
    state.PATIENCE_SECONDS = 0.0  # type: ignore[misc]
    room.LOOP_LAG_LIMIT_SECONDS = room.BUSY_LIMIT = 1e9  # type: ignore[misc]  # one loop and process for all of them
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        sdp = asyncio.run(offer_sdp())
        for load in options.load or [0.4, 0.8]:
            found = {way: asyncio.run(run(options, load, way, folder, sdp)) for way in (PACKED, SPREAD, RANDOM)}
            measured += rows(found, load, options)
    path = Path("build/bench/placement.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report(measured), indent=2) + "\n")
    show(measured)


if __name__ == "__main__":
    main()
