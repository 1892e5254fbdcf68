"""The phases of the operator's benchmark. Each has an end: what does not get there is a reason, and the next comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

import aiohttp
import httpx
from scale_changes import Changes
from scale_report import CHANGES_PER_SECOND, FEW_PER_SECOND, MEASURES, Found
from scale_rig import Rig
from scale_subjects import BATCHES, TICKS, Baseline, Ours, S, Subject, until

from mediapipeline_operator.shell.cluster.errors import ClusterError

RESTART = ("restart", "restart_cpu", "writes", "memory", "memory_peak")
TICK = ("tick", "batch", "tick_cpu", "queries")
FEW = ("applied_few", "applied_few_median")
CHANGE = ("applied", "applied_median", "change_cpu", "change_servers_cpu")
FAILOVER = ("failover", "failover_all", "graceful", "graceful_all")
IDLE = ("idle",)
PHASES = ("converge", "restart", "tick", "changes", "failover", "idle")
_FAILURES = (TimeoutError, RuntimeError, ClusterError, aiohttp.ClientError, httpx.HTTPError, OSError, ExceptionGroup)
_TICKS = 4
_STANDBY_SECONDS = 120.0
_TAKEOVER_SECONDS = 180.0


class Phases:
    """All phases of one operator at the size that the cluster has."""

    def __init__(
        self, rig: Rig, kind: type[Ours] | type[Baseline], seconds: float, repeats: int, only: Collection[str]
    ) -> None:
        self._rig = rig
        self._only = only
        self._kind = kind
        self._seconds = seconds
        self._repeats = repeats if kind is Ours else 1
        self.found = Found()

    @property
    def patience_seconds(self) -> float:
        """For every pipeline to have a pass, and for the writes after it to end."""
        return 120.0 + 0.12 * self._rig.size

    async def active(self) -> None:
        """Everything that is measured while pipelines are active."""
        async with self._reasons(MEASURES.keys() - set(IDLE)):
            if "converge" in self._only:
                await self._converge()
            if {"restart", "tick", "changes", "failover"} & set(self._only):
                await self._restarts()

    async def idle(self) -> None:
        """CPU of one core in percent while every pipeline is paused, which somebody has done."""
        async with self._reasons(IDLE), self._running(self._kind) as subject:
            await self._all_handled(subject)
            await self._rig.settled(subject, self.patience_seconds)
            for _ in range(2):
                before = subject.process.cpu_seconds()
                await asyncio.sleep(2 * self._seconds)
                self.found.add({"idle": 100 * (subject.process.cpu_seconds() - before) / (2 * self._seconds)})

    @asynccontextmanager
    async def _reasons(self, names: Iterable[str]) -> AsyncIterator[None]:
        try:
            yield
        except _FAILURES as error:
            self.found.missing((name for name in names if not self.found.values.get(name)), str(error)[:300])

    @asynccontextmanager
    async def _running(self, kind: type[S]) -> AsyncIterator[S]:
        subject = self._rig.start(kind)
        try:
            yield subject
        finally:
            await subject.stop()

    async def _converge(self) -> None:
        """What a first start writes is not measured."""
        async with self._running(self._kind) as subject:
            await self._all_handled(subject)
            await self._rig.settled(subject, self.patience_seconds)

    async def _restarts(self) -> None:
        for _ in range(self._repeats - 1):
            async with self._running(self._kind) as subject:
                await self._restart(subject)
        async with self._running(self._kind) as subject:
            await self._restart(subject)
            if "tick" in self._only:
                async with self._reasons(TICK):
                    await (self._ticks(subject) if isinstance(subject, Ours) else self._timers(subject))
            if "changes" in self._only:
                async with self._reasons(FEW):
                    await self._few_changes(subject)
                async with self._reasons(CHANGE):
                    await self._changes(subject)
            if "failover" in self._only:
                async with self._reasons(FAILOVER):
                    await self._failovers(subject)

    async def _all_handled(self, subject: Subject) -> float:
        """Returns the seconds until every pipeline had a pass. A TimeoutError says how many had."""
        handled = 0

        async def done() -> bool:
            nonlocal handled
            handled = await subject.handled()
            return handled >= self._rig.size

        try:
            return await until(done, "a pass of each", self.patience_seconds)
        except TimeoutError as error:
            text = f"{handled} of {self._rig.size} pipelines had a pass within {self.patience_seconds:.0f} s"
            raise TimeoutError(text) from error

    async def _restart(self, subject: Subject) -> None:
        before = await self._rig.writes()
        seconds = await self._all_handled(subject)
        process = subject.process
        self.found.add({"restart": seconds, "restart_cpu": process.cpu_seconds()})
        await asyncio.sleep(2.5 * self._rig.tick_seconds)
        writes = await self._rig.writes() - before
        memory = {"memory": process.memory_megabytes(), "memory_peak": process.peak_memory_megabytes()}
        self.found.add({"writes": float(writes), **memory})

    async def _ticks(self, subject: Ours) -> None:
        """Each of some ticks, by the operator's own histograms."""
        before = await self._next_tick(subject, await self._reading(subject))
        for _ in range(_TICKS):
            after = await self._next_tick(subject, before)
            self.found.add({name: after[name] - before[name] for name in TICK})
            before = after

    async def _reading(self, subject: Ours) -> dict[str, float]:
        return {
            "ticks": await subject.metric(TICKS, "_count"),
            "tick": await subject.metric(TICKS, "_sum"),
            "batch": await subject.metric(BATCHES, "_sum"),
            "tick_cpu": subject.process.cpu_seconds(),
            "queries": float(len(self._rig.prometheus.asked)),
        }

    async def _next_tick(self, subject: Ours, before: dict[str, float]) -> dict[str, float]:
        async def ended() -> bool:
            return await subject.metric(TICKS, "_count") > before["ticks"]

        await until(ended, "the end of a scaling tick", 3 * self._rig.tick_seconds + 60.0, 0.5)
        return await self._reading(subject)

    async def _timers(self, subject: Subject) -> None:
        """What the baseline's timers cost in the time of a tick."""
        for _ in range(_TICKS):
            asked, cpu = len(self._rig.prometheus.asked), subject.process.cpu_seconds()
            await asyncio.sleep(self._rig.tick_seconds)
            queries = len(self._rig.prometheus.asked) - asked
            self.found.add({"queries": float(queries), "tick_cpu": subject.process.cpu_seconds() - cpu})

    async def _few_changes(self, subject: Subject) -> None:
        changes = Changes(self._rig, self._seconds, FEW_PER_SECOND)
        await changes.run()
        subject.process.check()
        self._applied(changes, "applied_few")

    async def _changes(self, subject: Subject) -> None:
        changes, cpu = Changes(self._rig, self._seconds, CHANGES_PER_SECOND), subject.process.cpu_seconds()
        servers_cpu = await self._rig.servers_cpu_seconds()
        await changes.run()
        subject.process.check()
        spent = {
            "change_cpu": subject.process.cpu_seconds() - cpu,
            "change_servers_cpu": await self._rig.servers_cpu_seconds() - servers_cpu,
        }
        self.found.add({name: 1000 * seconds / changes.count for name, seconds in spent.items()})
        self._applied(changes, "applied")

    def _applied(self, changes: Changes, name: str) -> None:
        if changes.taken:
            self.found.add({f"{name}_median": changes.median()})
        if changes.stuck <= 0.01 * changes.count:
            self.found.add({name: changes.p99()})
        else:
            text = f"{changes.stuck} of {changes.count} changes had not shown a minute after the last one"
            self.found.missing((name, f"{name}_median"), text)

    async def _failovers(self, leader: Subject) -> None:
        """From the end of the leader until its successor asks Prometheus, and until it has decided about all."""
        if not isinstance(leader, Ours):
            return
        successors: list[Ours] = []
        try:
            for name in ("failover", "graceful") * self._repeats:
                successors.append(self._rig.start(Ours))
                await self._take_over(name, leader, successors[-1])
                leader = successors[-1]
        finally:
            for subject in successors:
                await subject.stop()

    async def _take_over(self, name: str, leader: Ours, successor: Ours) -> None:
        asked, loop = self._rig.prometheus.asked, asyncio.get_running_loop()
        await until(successor.ready, "a ready successor", _STANDBY_SECONDS, 0.5)
        await self._next_tick(leader, await self._reading(leader))  # the leader is not in the middle of one
        started, before = loop.time(), len(asked)
        ending = asyncio.create_task(leader.kill() if name == "failover" else leader.stop())

        async def first_tick() -> bool:
            return len(asked) > before

        async def decided() -> bool:
            decided_about = await successor.handled()
            return decided_about >= self._rig.size and await successor.metric(TICKS, "_count") > 0

        await until(first_tick, "the successor's first tick", _TAKEOVER_SECONDS, 0.02)
        self.found.add({name: asked[before] - started})
        await until(decided, "the successor's first decisions", _TAKEOVER_SECONDS)
        self.found.add({f"{name}_all": loop.time() - started})
        await ending
