"""The real HorizontalPodAutoscaler controller and our law on twin pipelines, in one local cluster, under one real load.

    python bench/live.py [--minutes 12] [--keep FOLDER]

Real: the control plane, Prometheus, Prometheus Adapter, pods as processes, WebRTC clients with encoded video.
Simulated: the device of the pods (serial, with a fixed service time around real decode, effect and encode). The
recorded load then goes through the simulator, and the difference is printed: how far its figures can be trusted.
Writes build/bench/live.json and live.png.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
from live_cluster import (
    ENGINES,
    FRAMES_PER_SECOND,
    NAMESPACE,
    OURS,
    SERVICE_MILLISECONDS,
    Look,
    bring_up,
    look,
    missed_over_time,
    missed_share,
    startups,
)
from live_load import Clients, plan, recorded, sessions_over_time
from live_replay import replay
from live_report import CHART, Twin, draw, longest_wait, result_of, rows, show, verdict
from media_report import write
from rich.console import Console

from devcluster.cluster import LocalCluster
from mediapipeline_operator.core.simulation.loads import Load

LEAD_SECONDS = 15.0  # for the clients' processes to start
SETTLE_SECONDS = 12.0  # for the last scrape
LATENESS_EVERY_SECONDS = 0.05
CROWDED_MILLISECONDS = 10.0  # p95, of a timer; frames may be 200 ms old
DEVICE = f"device SIMULATED: serial, {SERVICE_MILLISECONDS} ms a frame; {FRAMES_PER_SECOND} frames a second a session"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=12.0, help="length of the load; at least 3")
    parser.add_argument("--keep", type=Path, help="folder for logs and reports, kept")
    return parser.parse_args()


class Lateness(Thread):
    """How late a sleeping thread of this priority gets a processor: on a crowded machine frames are late like it."""

    def __init__(self) -> None:
        super().__init__(name="lateness", daemon=True)
        self._late: list[float] = []
        self._over = Event()
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            due = time.monotonic() + LATENESS_EVERY_SECONDS
            self._over.wait(LATENESS_EVERY_SECONDS)
            self._late.append(time.monotonic() - due)

    def p95_milliseconds(self) -> float:
        """Ends it."""
        self._over.set()
        self.join(5)
        return 1000 * sorted(self._late)[int(0.95 * len(self._late))] if self._late else 0.0


def watch(
    console: Console, cluster: LocalCluster, began: float, seconds: int
) -> tuple[dict[str, list[Look]], dict[str, float]]:
    """Looks at both once a second until the load is over; also the start-up seconds of all pods."""
    looks: dict[str, list[Look]] = {name: [] for name in ENGINES}
    ready: dict[str, float] = {}
    told = 0
    while (now := time.time() - began) < seconds:
        try:
            for name, one in look(cluster, now).items():
                looks[name].append(one)
            ready = startups(cluster) | ready  # a pod that was drained and taken back is ready a second time
        except httpx.HTTPError as error:  # the API server of a crowded machine: one look is missing
            console.print(f"  {now:5.0f} s  {type(error).__name__}")
        if now >= told and looks[OURS]:
            told += 30
            words = (f"{name}: {seen[-1].pods} replicas, {seen[-1].draining} draining" for name, seen in looks.items())
            console.print(f"  {now:5.0f} s  {'; '.join(words)}")
        time.sleep(max(0.0, 1 - (time.time() - began - now)))
    return looks, ready


@dataclass(frozen=True)
class Run:
    """The twins after their load, the start-up seconds of all replicas by name, how late timers were (p95)."""

    twins: dict[str, Twin]
    startups: dict[str, float]
    late_milliseconds: float


def measure(console: Console, cluster: LocalCluster, folder: Path, load: Load) -> Run:
    """Plays the load on both at once."""
    began, lateness = time.time() + LEAD_SECONDS, Lateness()
    with ExitStack() as stack:
        urls = {name: cluster.service_url(NAMESPACE, name) for name in ENGINES}
        clients = [stack.enter_context(Clients(name, url, folder, load, began)) for name, url in urls.items()]
        time.sleep(max(0.0, began - time.time()))
        looks, ready = watch(console, cluster, began, load.duration_seconds)
        reports = {one.name: one.report() for one in clients}
    late = lateness.p95_milliseconds()
    time.sleep(SETTLE_SECONDS)
    twins = {name: twin_of(cluster, name, looks[name], found, load, began) for name, found in reports.items()}
    return Run(twins, ready, late)


def twin_of(
    cluster: LocalCluster, name: str, looks: list[Look], clients: dict[str, Any], load: Load, began: float
) -> Twin:
    """What one pipeline left in Prometheus and with its clients."""
    wanted, served = sessions_over_time(clients, load.duration_seconds)
    missed = missed_over_time(cluster, name, began, began + load.duration_seconds)
    return Twin(looks, missed_share(cluster, name), missed, clients, wanted, served)


def report(console: Console, run: Run, load: Load, minutes: float) -> int:
    """Table, JSON and chart; the exit code."""
    measured = {name: result_of(twin) for name, twin in run.twins.items()}
    ready = sorted(run.startups.values())
    simulated, replayed = replay(recorded(run.twins[OURS].clients, load), ready)
    show(console, measured, simulated)
    console.print(verdict(measured))
    note = (
        f"{minutes:g} minutes, {len(load.visits)} visits, one run; {DEVICE}; timers {run.late_milliseconds:.0f} ms late"
    )
    console.print(f"{len(ready)} replicas started in {ready[0]:.0f} to {ready[-1]:.0f} s; {note}")
    for name, twin in run.twins.items():
        console.print(f"{name}: at worst a replica was awaited for {longest_wait(twin.looks):.0f} s")
    if run.late_milliseconds > CROWDED_MILLISECONDS:
        console.print("[red]the machine was crowded: frames were late for want of a processor, not of replicas[/]")
        note += "; CROWDED, not to be quoted"
    path = write("live", rows(measured, simulated, note))
    draw(run.twins, replayed, DEVICE)
    console.print(f"{path}, {CHART}")
    return 1 if measured[OURS].killed else 0


def main() -> int:
    """Runs, compares, reports."""
    options, console = arguments(), Console(width=150)
    if options.minutes < 3:
        console.print("--minutes: at least 3, or nothing is scaled")
        return 2
    folder = (options.keep or Path(tempfile.mkdtemp(prefix="bench-live-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    load = plan(options.minutes)
    console.print(f"{len(load.visits)} visits in {options.minutes:g} minutes; {DEVICE}; logs in {folder}")
    with ExitStack() as stack:
        cluster = bring_up(stack, folder)
        return report(console, measure(console, cluster, folder, load), load, options.minutes)


if __name__ == "__main__":
    sys.exit(main())
