"""How evenly sessions spread over pods, and how many offers are refused: placement against a Service's random choice.

    python bench/placement.py [--pods 6] [--capacity 10] [--load 0.8] [--steps 200]

Real mediapods in one process, signalling over loopback. Offers go to a random pod, as kube-proxy would send them. The
fleet is filled to the load and then, in each step, a random session ends and a new offer comes: an offer that is
refused is lost, as a user's would be. Both ways see the same random numbers. Writes build/bench/placement.json.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection
from rich.console import Console
from rich.table import Table

from mediapod.observability.logs import configure_logs
from mediapod.service import Mediapod
from mediapod.settings import Settings

LONGEST_WAIT_SECONDS = 3600.0  # nobody connects: a session lasts until it is deleted


@dataclass
class Outcome:
    """What one run saw."""

    spreads: list[int] = field(default_factory=list)
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

    def spread(self) -> int:
        """Sessions on the fullest pod less those on the emptiest."""
        taken = [len(pod.registry.sessions) for pod in self._pods]
        return max(taken) - min(taken)

    async def close(self) -> None:
        """Close the client."""
        await self._http.aclose()

    def _any_pod(self) -> str:
        return f"http://127.0.0.1:{self._random.choice(self._pods).http.port}"


async def run(options: argparse.Namespace, peers: str, sdp: str) -> Outcome:
    """One run; `peers` empty: without placement."""
    pods = [Mediapod(settings(options.capacity, peers)) for _ in range(options.pods)]
    for pod in pods:
        await pod.start()
    if peers:
        Path(peers).write_text("\n".join(f"127.0.0.1:{pod.admin.port}" for pod in pods))  # noqa: ASYNC240  once
    fleet, outcome = Fleet(pods, random.Random(options.seed), sdp), Outcome()
    wanted = round(options.pods * options.capacity * options.load)
    try:
        await fleet.fill(wanted, Outcome())
        for _ in range(options.steps):
            await fleet.end_one()
            await asyncio.sleep(options.pause)
            await fleet.offer(outcome)
            outcome.spreads.append(fleet.spread())
            await fleet.fill(wanted, Outcome())  # a refused user is lost; the load is kept all the same
    finally:
        await fleet.close()
        await asyncio.gather(*(pod.stop() for pod in pods))
    return outcome


def settings(capacity: int, peers: str) -> Settings:
    """Of one pod."""
    values: dict[str, Any] = {
        "MEDIAPOD_BIND_ADDRESS": "127.0.0.1",
        "MEDIAPOD_HTTP_PORT": 0,
        "MEDIAPOD_ADMIN_PORT": 0,
        "MEDIAPOD_DEVICE": "CPU",
        "MAX_SESSIONS_PER_POD": capacity,
        "WEBRTC_TIMEOUT": LONGEST_WAIT_SECONDS,
        "MEDIAPOD_PEERS": peers,
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


def rows(ours: Outcome, peer: Outcome, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a measure."""
    where = f"{options.pods} pods of {options.capacity}, load {options.load:.0%}"

    def row(measure: str, unit: str, mine: float, others: float, note: str) -> dict[str, Any]:
        result = {"measure": f"{measure} ({where})", "unit": unit, "direction": "lower", "ours": mine, "spread": None}
        return result | {"peers": {"random pod": others}, "target": None, "note": note}

    return [
        row("sessions, fullest less emptiest pod, mean", "sessions", *means(ours.spreads, peer.spreads), ""),
        row("sessions, fullest less emptiest pod, worst", "sessions", max(ours.spreads), max(peer.spreads), ""),
        row("offers refused", "%", *refused(ours, peer), f"of {ours.offers} and {peer.offers}"),
        row("offer to answer, p95", "ms", *tails(ours, peer), "client and all pods share one event loop"),
    ]


def means(ours: list[int], peer: list[int]) -> tuple[float, float]:
    """Of both."""
    return round(statistics.mean(ours), 2), round(statistics.mean(peer), 2)


def refused(*outcomes: Outcome) -> tuple[float, ...]:
    """Percent of each."""
    return tuple(round(100 * outcome.refused / max(1, outcome.offers), 2) for outcome in outcomes)


def tails(*outcomes: Outcome) -> tuple[float, ...]:
    """95th percentile of each in milliseconds."""
    return tuple(round(1000 * statistics.quantiles(outcome.seconds, n=20)[-1], 1) for outcome in outcomes)


def report(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """The file's content."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    rig = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()}
    rig["versions"] = {"python": platform.python_version()}
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"benchmark": "placement", "date": date, "commit": commit.stdout.strip(), "rig": rig, "rows": measured}


def show(measured: list[dict[str, Any]]) -> None:
    """Print a table."""
    table = Table("measure", "unit", "placement", "random pod", "note")
    for row in measured:
        peer = row["peers"]["random pod"]
        table.add_row(row["measure"], row["unit"], str(row["ours"]), str(peer), row["note"])
    Console().print(table)


def main() -> None:
    """Run both ways, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pods", type=int, default=6)
    parser.add_argument("--capacity", type=int, default=10)
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between an end and the next offer")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    configure_logs("ERROR", "text")
    with tempfile.TemporaryDirectory() as folder:
        sdp = asyncio.run(offer_sdp())
        ours = asyncio.run(run(options, f"{folder}/peers", sdp))
        peer = asyncio.run(run(options, "", sdp))
    measured = rows(ours, peer, options)
    path = Path("build/bench/placement.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report(measured), indent=2) + "\n")
    show(measured)


if __name__ == "__main__":
    main()
