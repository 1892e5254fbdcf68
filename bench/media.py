"""The media path against what a user would write instead: latency, sessions a core, overload, loss, audio, churn.

    python bench/media.py [--quick]

Prints a table and writes build/bench/media.json. One service at a time, alone on core 0; the clients, which send
pre-encoded clips and decode nothing, on core 1. "Added latency" is the time from the last packet of a frame sent until
its last packet is back. No effect runs unless the row names one. Order of the systems is random.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import uvloop
from media_audio import AudioEcho, measure_audio
from media_churn import churn, describe, settled
from media_load import FRAMES_PER_SECOND, Sessions, Window, as_row_note, clip_of, most_sessions, sessions
from media_process import measure_process, picture_request, reference_request
from media_report import row, show, write
from media_servers import BGR24, BLUR, CLIENT_CORE, OURS, PLAIN_HTTP, STOCK, UNCHANGED, Server, serving
from media_workers import sessions_by_processes

from devcluster.load.clips import CODECS, Codec

FORWARDING = {**UNCHANGED, "MEDIAPOD_FORWARD_UNCHANGED": "true"}
SYSTEMS = (OURS, STOCK, BGR24)
# Where the search begins: a little below what one core of an AMD EPYC (2026) carries, H264 and VP8.
FIRST_GUESS: dict[str, dict[str, tuple[int, int]]] = {
    "360p": {OURS: (17, 13), STOCK: (5, 8)},
    "720p": {OURS: (7, 5), STOCK: (2, 1), BGR24: (1, 1)},
    "1080p": {OURS: (3, 2)},
}
COMPARED_EFFECT = "GaussianBlur"
EFFECT_PARAMETERS: dict[str, dict[str, float]] = {
    "GaussianBlur": {"radius": 7},
    "ColorCorrection": {"brightness": 0.1, "contrast": 1.2, "saturation": 1.3},
}
STAGES = ("jitter", "decode", "queue", "effect", "encode", "send")
RECOVERED_MILLISECONDS = 50.0
SETTLED_SECONDS = 2.0  # after the last session has connected


@dataclass(frozen=True)
class Plan:
    """How long things take. repeats: of the latency windows; other_repeats: of those of forwarding, whose spread is a
    tenth, and of the second peer.
    """

    repeats: int = 5
    other_repeats: int = 3
    warm_up_seconds: float = 1.0
    window_seconds: int = 3
    ramp_warm_up_seconds: float = 3.0
    ramp_seconds: int = 4
    overload_seconds: int = 12
    audio_seconds: float = 3.0
    churn_seconds: float = 15.0
    process_seconds: float = 2.0
    ramp_sizes: tuple[str, ...] = ("720p", "360p", "1080p")
    codecs: tuple[Codec, ...] = CODECS
    losses: tuple[int, ...] = (100, 33)
    effects: tuple[str, ...] = ("GaussianBlur", "ColorCorrection", "BackgroundDim")


QUICK = Plan(1, 1, 1.0, 3, 3.0, 3, 6, 2.0, 8.0, 1.0, ("720p",), ("H264",), (33,), ("GaussianBlur",))


@dataclass
class Bench:
    """Runs the parts in turn and collects their rows. limits: sessions a core by (system, size, codec)."""

    plan: Plan
    rows: list[dict[str, Any]] = field(default_factory=list)
    limits: dict[tuple[str, str, str], int] = field(default_factory=dict)

    async def run(self) -> None:
        """All parts. A part that fails leaves a row that says so."""
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("added latency", self.latencies),
            ("unchanged pictures forwarded", self.forwarding),
            ("sessions a core", self.capacity),
            ("effects", self.effects),
            *((f"80 % of the maximum {codec}", lambda codec=codec: self.busy(codec)) for codec in self.plan.codecs),
            ("sessions by processes", self.processes),
            ("overload", self.overload),
            *((f"loss 1 in {every}", lambda every=every: self.loss(every)) for every in self.plan.losses),
            ("audio", self.audio),
            ("/process", self.process),
            ("churn", self.churn),
        ]
        for name, part in parts:
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {name}\n")
            gc.collect()
            try:
                await part()
            except (RuntimeError, OSError, TimeoutError) as error:
                self.rows.append(row(name, "", [], {}, note=f"not measured: {error!r}"))

    async def latencies(self) -> None:
        """One session. All systems are up, and all but one of them have nothing to do."""
        async with AsyncExitStack() as stack:
            servers = {name: await stack.enter_async_context(serving(name)) for name in SYSTEMS}
            for codec in CODECS:
                await self._latency(servers, codec)

    async def _latency(self, servers: Mapping[str, Server], codec: Codec) -> None:
        """One session 720p30; CPU time of the whole process for a frame, and the stages of ours."""
        found: dict[str, list[Window]] = {name: [] for name in SYSTEMS}
        cpu: dict[str, list[float]] = {name: [] for name in SYSTEMS}
        stages: dict[str, float] = {}
        for repeat in range(self.plan.repeats):
            systems = SYSTEMS if repeat < self.plan.other_repeats else (OURS, STOCK)
            for name in random.sample(systems, len(systems)):
                async with sessions(servers[name], clip_of("720p", codec), 1) as group:
                    before = await self._stage_seconds(servers[name])
                    window, milliseconds = await self._with_cpu(servers[name], group)
                    found[name].append(window)
                    cpu[name].append(milliseconds)
                    stages = per_frame(before, await self._stage_seconds(servers[name])) or stages
        for percent, target in (("p50", 12.0), ("p95", 25.0), ("p99", None)):
            values = {name: [getattr(window, percent) for window in found[name]] for name in SYSTEMS}
            self.add(f"added latency {percent}, 1 session 720p30 {codec}", "ms", values, target=target)
        self.add(f"CPU a frame, 720p30 {codec}", "ms", cpu, note=", ".join(f"{k} {v:.1f}" for k, v in stages.items()))

    async def _with_cpu(self, server: Server, group: Sessions) -> tuple[Window, float]:
        """A window of one session, and the milliseconds of CPU that each of its frames took."""
        before, began = server.cpu_seconds(), time.time()
        window = await group.measure(self.plan.warm_up_seconds, self.plan.window_seconds)
        return window, (server.cpu_seconds() - before) * 1000 / ((time.time() - began) * FRAMES_PER_SECOND)

    async def _stage_seconds(self, server: Server) -> dict[str, tuple[float, float]]:
        """(frames, seconds) so far by stage; empty for the peers."""
        metrics, name = await server.metrics(), "mediapod_frame_stage_seconds"
        labels = {stage: f'{{stage="{stage}"}}' for stage in STAGES}
        return {
            stage: (metrics.get(f"{name}_count{label}", 0.0), metrics.get(f"{name}_sum{label}", 0.0))
            for stage, label in labels.items()
            if metrics
        }

    async def forwarding(self) -> None:
        """The short cut for pipelines that change nothing."""
        windows, cpu = [], []
        async with serving(OURS, FORWARDING) as server:
            for _ in range(self.plan.other_repeats):
                async with sessions(server, clip_of("720p", "H264"), 1) as group:
                    window, milliseconds = await self._with_cpu(server, group)
                    windows.append(window)
                    cpu.append(milliseconds)
        for percent in ("p50", "p95"):
            values = [getattr(window, percent) for window in windows]
            self.add(f"forwarded unchanged: added latency {percent}, 720p30 H264", "ms", {OURS: values})
        self.add("forwarded unchanged: CPU a frame, 720p30 H264", "ms", {OURS: cpu})

    async def capacity(self) -> None:
        """Sessions at 29.5 frames a second and p95 within 50 ms, by size and codec."""
        for size in self.plan.ramp_sizes:
            for codec in self.plan.codecs:
                limits: dict[str, list[float]] = {}
                note = ""
                for name in [one for one in SYSTEMS if one in FIRST_GUESS[size]]:
                    best = await self._most(name, size, codec, FIRST_GUESS[size][name][CODECS.index(codec)])
                    self.limits[name, size, codec] = best.sessions
                    limits[name] = [float(best.sessions)]
                    note = as_row_note(best) if name == OURS else note
                target = 6.0 if size == "720p" else None
                self.add(f"sessions a core, {size}30 {codec}", "", limits, higher=True, target=target, note=note)

    async def effects(self) -> None:
        """What an effect costs, and how many sessions a core carries with one, against the usual way of doing it."""
        for effect in self.plan.effects:
            async with (
                serving(OURS, with_effect(effect)) as server,
                sessions(server, clip_of("720p", "H264"), 1) as group,
            ):
                window, milliseconds = await self._with_cpu(server, group)
            note = f"p95 {window.p95:.1f} ms"
            self.add(f"CPU a frame with {effect}, 720p30 H264", "ms", {OURS: [milliseconds]}, note=note)
        best = {
            OURS: await self._most(OURS, "720p", "H264", 4, with_effect(COMPARED_EFFECT)),
            BLUR: await self._most(BLUR, "720p", "H264", 1),
        }
        limits = {name: [float(window.sessions)] for name, window in best.items()}
        measure = f"sessions a core with {COMPARED_EFFECT}, 720p30 H264"
        self.add(measure, "", limits, higher=True, note=as_row_note(best[OURS]))

    async def busy(self, codec: Codec) -> None:
        """Latency at 80 % of what each carries."""
        found: dict[str, Window] = {}
        for name in (OURS, STOCK):
            count = max(1, math.floor(0.8 * self.limits.get((name, "720p", codec), 1)))
            async with serving(name) as server, sessions(server, clip_of("720p", codec), count) as group:
                found[name] = await group.measure(self.plan.warm_up_seconds, self.plan.window_seconds)
        counts = ", ".join(f"{name} {window.sessions}" for name, window in found.items())
        for percent, target in (("p50", None), ("p95", 50.0), ("p99", None)):
            values = {name: [getattr(window, percent)] for name, window in found.items()}
            measure = f"added latency {percent} at 80 % of the maximum, 720p30 {codec}"
            self.add(measure, "ms", values, target=target, note=f"sessions: {counts}")

    async def _most(
        self, name: str, size: str, codec: Codec, guess: int, environment: Mapping[str, str] = UNCHANGED
    ) -> Window:
        """The window with the most sessions that passes."""
        async with serving(name, environment) as server, sessions(server, clip_of(size, codec), 0) as group:
            return await most_sessions(group, self._twice, guess)

    async def _twice(self, group: Sessions) -> Window:
        """A window that fails gets a second chance, if it does not fail by far: a moment must not decide. Sessions that
        connect at once lower their frame rates; the time to warm up is for these to come back.
        """
        window = await group.measure(self.plan.ramp_warm_up_seconds, self.plan.ramp_seconds)
        return window if window.passes or window.fails_by_far else await group.measure(0.5, self.plan.ramp_seconds)

    async def processes(self) -> None:
        """One process against two media workers, on all cores."""
        self.rows += await sessions_by_processes(self._twice)

    async def overload(self) -> None:
        """Half as many sessions again as the core carries, then half of what it carries."""
        found = {name: await self._overload(name) for name in (OURS, STOCK)}
        notes = "; ".join(f"{name}: {note}" for name, (_, note) in found.items())
        measures = (
            ("overload at 150 %: p99 seen by the client", "ms", 150.0, notes),
            ("overload at 150 %: missed share", "", None, ""),
            ("overload at 150 %: memory growth", "MB", 20.0, "from 2 s after the last session has connected on"),
            ("time from the end of the overload to p95 <= 50 ms", "s", 2.0, ""),
            (
                "memory a session, 720p30 H264",
                "MB",
                None,
                "codecs, pictures, connection: before against after more come",
            ),
        )
        for index, (measure, unit, target, note) in enumerate(measures):
            values = {name: [numbers[index]] for name, (numbers, _) in found.items()}
            self.add(measure, unit, values, target=target, note=note)

    async def _overload(self, name: str) -> tuple[list[float], str]:
        limit = self.limits.get((name, "720p", "H264")) or 2
        many, few = max(limit + 1, math.ceil(1.5 * limit)), max(1, limit // 2)
        async with serving(name) as server, sessions(server, clip_of("720p", "H264"), few) as group:
            await asyncio.sleep(SETTLED_SECONDS)
            alone = server.memory_megabytes()
            await group.resize(many)
            await asyncio.sleep(SETTLED_SECONDS)
            begun = server.memory_megabytes()
            window = await group.measure(0.0, self.plan.overload_seconds, tail_seconds=0.8)
            growth = server.memory_megabytes() - begun
            ended = time.time()
            await group.resize(few)
            recovery = await self._recovery(group, ended)
        numbers = [window.p99, window.missed_share, growth, recovery, (begun - alone) / (many - few)]
        return numbers, f"{many} sessions, then {few}, {window.frames_per_second:.1f} fps the slowest"

    async def _recovery(self, group: Sessions, ended: float) -> float:
        """Seconds from `ended` to the first whole second with p95 in bounds; infinite: not within 20."""
        await asyncio.sleep(8)
        for second in range(int(ended), int(ended) + 7):
            window = group.window(second, second + 1)
            if window.frames and window.p95 <= RECOVERED_MILLISECONDS:
                return max(0.0, second - ended)
        return math.inf

    async def loss(self, every: int) -> None:
        """Packets lost in both directions, by counting."""
        found: dict[str, Window] = {}
        for name in (OURS, STOCK):
            async with serving(name) as server, sessions(server, clip_of("720p", "H264"), 1, every) as group:
                found[name] = await group.measure(self.plan.warm_up_seconds, self.plan.window_seconds)
        share = f"{1 / every:.0%}"
        for percent in ("p50", "p95", "p99"):
            values = {name: [getattr(window, percent)] for name, window in found.items()}
            self.add(f"{share} of packets lost: added latency {percent}, 720p30 H264", "ms", values)
        missed = {name: [window.missed_share] for name, window in found.items()}
        self.add(f"{share} of packets lost: missed share", "", missed)

    async def audio(self) -> None:
        """Opus there and back."""
        found: dict[str, AudioEcho] = {}
        for name in (OURS, STOCK):
            async with serving(name) as server:
                found[name] = await measure_audio(server, self.plan.audio_seconds)
        values = {name: [one.p50_milliseconds] for name, one in found.items()}
        self.add("audio echo p50", "ms", values, target=25.0)
        self.add("audio echo p95", "ms", {name: [one.p95_milliseconds] for name, one in found.items()})
        after = {name: [one.after_loss_p50_milliseconds] for name, one in found.items()}
        self.add("audio echo p50 from 2 s after one lost packet on", "ms", after, target=40.0)
        never = {
            name: [math.inf if one.recovery_seconds is None else one.recovery_seconds] for name, one in found.items()
        }
        self.add("audio back below 40 ms after one lost packet", "s", never, target=2.0, note="-: it never was")

    async def process(self) -> None:
        """Single pictures over HTTP."""
        for request in (picture_request(224, 224), picture_request(1920, 1080)):
            found = {}
            for name in (OURS, PLAIN_HTTP):
                async with serving(name) as server:
                    found[name] = await measure_process(server, request, self.plan.process_seconds)
            rates = {name: [answers.a_second] for name, answers in found.items()}
            slow = {name: [answers.p95] for name, answers in found.items()}
            note = f"{request.at_once} at a time"
            self.add(f"/process {request.name}: requests a second and core", "", rates, higher=True, note=note)
            self.add(f"/process {request.name}: p95", "ms", slow, note=note)
        request = reference_request()
        async with serving(OURS) as server:
            answers = await measure_process(server, request, self.plan.process_seconds)
        self.add(f"/process {request.name}: p95", "ms", {OURS: [answers.p95]}, target=200.0, note="one core")

    async def churn(self) -> None:
        """Clients that come and go, half of them killed."""
        async with serving(OURS) as server:
            await churn(server, 4)  # code loaded, pools filled
            before, _ = await settled(server)
            killed = await churn(server, self.plan.churn_seconds)
            after, took = await settled(server)
            note = describe(before, after)
        self.add(
            "churn: sessions left", "", {OURS: [float(after.sessions)]}, target=0.0, note=f"{killed} killed; {note}"
        )
        self.add("churn: last killed session's place free after", "s", {OURS: [took]})
        self.add("churn: memory growth", "MB", {OURS: [after.memory_megabytes - before.memory_megabytes]})
        self.add("churn: threads and sockets left", "", {OURS: [float(_left(before, after))]}, target=0.0)

    def add(self, measure: str, unit: str, values: dict[str, list[float]], **more: Any) -> None:
        """Add a row from values by system."""
        peers = {name: found for name, found in values.items() if name != OURS}
        self.rows.append(row(measure, unit, values.get(OURS, []), peers, **more))


def with_effect(effect: str) -> dict[str, str]:
    """The environment of a mediapod with one effect."""
    stages = [{"name": "one", "effect": effect, "parameters": EFFECT_PARAMETERS.get(effect, {})}]
    return {**UNCHANGED, "MEDIAPOD_STAGES": json.dumps(stages)}


def per_frame(before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Mean wall milliseconds a stage between two looks at (frames, seconds)."""
    since = {
        stage: (frames - before[stage][0], seconds - before[stage][1]) for stage, (frames, seconds) in after.items()
    }
    return {stage: seconds / frames * 1000 for stage, (frames, seconds) in since.items() if frames}


def _left(before: Any, after: Any) -> int:
    return max(0, after.threads - before.threads) + max(0, after.sockets - before.sockets)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about four minutes, once each; not for publication")
    quick = parser.parse_args().quick
    if (os.cpu_count() or 1) < 2:
        sys.stderr.write("bench/media.py needs two cores: one for the service, one for the clients\n")
        return 1
    os.sched_setaffinity(0, {CLIENT_CORE})
    bench = Bench(QUICK if quick else Plan())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bench.run())
    show(bench.rows, "media path; red: a peer or the target is better")
    sys.stdout.write(f"written to {write('media', bench.rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
