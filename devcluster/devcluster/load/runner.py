"""Runs a load profile: starts and closes clients, tells how it goes every second, reports at the end."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import structlog

from devcluster.load import compat
from devcluster.load.client import ClientSettings, LoadClient
from devcluster.load.clips import CODECS, Clip, ClipSpec, load_clip
from devcluster.load.plan import MOST_SESSIONS, CloseOrder, Mix, Profile, choose_to_close
from devcluster.load.statistics import Interval, RecentRoundTrips, SessionStatistics, recent_returns, totals

_TICK_SECONDS = 0.2
_STATUS_SECONDS = 1.0
_CLOSE_ALL_SECONDS = 8.0

_log = structlog.get_logger()


@dataclass(frozen=True)
class RunSettings:
    """A run. clip: its codec is replaced by each session's own; max_seconds ends the run whatever the profile says."""

    client: ClientSettings
    profile: Profile
    mix: Mix = field(default_factory=Mix)
    clip: ClipSpec = field(default_factory=ClipSpec)
    clip_folder: Path | None = None
    close_order: CloseOrder = "newest"
    seed: int = 0
    starts_per_second: float = 4.0
    max_seconds: float = 3600.0
    status_file: Path | None = None
    report_file: Path | None = None


@dataclass
class _Live:
    """A client that runs, and whether it is being closed."""

    client: LoadClient
    task: "asyncio.Task[SessionStatistics]"
    closing: "asyncio.Task[None] | None" = None


@dataclass
class LoadRunner:
    """`run` holds the wanted number of sessions until the profile or `stop` ends it, and returns the report."""

    settings: RunSettings
    status_seen: Callable[[dict[str, Any]], None] | None = None
    _live: dict[str, _Live] = field(default_factory=dict)
    _ended: list[SessionStatistics] = field(default_factory=list)
    _round_trips: RecentRoundTrips = field(default_factory=RecentRoundTrips)
    _overloads: list[Interval] = field(default_factory=list)
    _target: int | None = None
    _started: int = 0
    _start_credit: float = 0.0
    _began: float = 0.0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _clips: dict[str, Clip] = field(default_factory=dict)

    def set_target(self, sessions: int) -> None:
        """Hold this many sessions from now on, whatever the profile says. Raises ValueError out of 0..500."""
        if not 0 <= sessions <= MOST_SESSIONS:
            raise ValueError(f"sessions {sessions}: must be 0..{MOST_SESSIONS}")
        self._target = sessions

    def add_overload(self, start: float, end: float) -> None:
        """Frames sent between these times (seconds of the Unix epoch) are reported as inside an overload."""
        self._overloads.append((start, end))

    def stop(self) -> None:
        """End the run: close all sessions and report."""
        self._stop.set()

    async def run(self) -> dict[str, Any]:
        """Raises OSError when a clip, the status file or the report file cannot be written."""
        await compat.self_test()
        compat.notice_loss_sooner()
        self._clips = await asyncio.to_thread(self._load_clips)
        random, self._began = Random(self.settings.seed), time.monotonic()  # noqa: S311  which session closes, no secret
        next_status = 0.0
        try:
            while not self._stop.is_set() and self._elapsed() < self._end_seconds():
                self._step(random)
                if self._elapsed() >= next_status:
                    next_status = self._elapsed() + _STATUS_SECONDS
                    self._publish()
                await self._pause()
        finally:
            await self._close_all()
        self._publish()
        return self._report()

    def _load_clips(self) -> dict[str, Clip]:
        spec, folder = self.settings.clip, self.settings.clip_folder
        fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__ if name != "codec"}
        return {codec: load_clip(ClipSpec(codec, **fields), folder) for codec in CODECS}

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _end_seconds(self) -> float:
        """A target given from outside holds until it is stopped; only max_seconds ends it then."""
        profile_end = self.settings.profile.duration_seconds if self._target is None else self.settings.max_seconds
        return min(profile_end, self.settings.max_seconds)

    def _wanted(self) -> int:
        return self.settings.profile.wanted(self._elapsed()) if self._target is None else self._target

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), _TICK_SECONDS)
        except TimeoutError:
            return

    def _step(self, random: Random) -> None:
        self._collect()
        staying = [name for name, live in self._live.items() if live.closing is None]
        wanted = self._wanted()
        self._start_credit = min(self._start_credit + self.settings.starts_per_second * _TICK_SECONDS, 2.0)
        while len(staying) < wanted and self._start_credit >= 1:
            self._start_credit -= 1
            staying.append(self._start())
        for name in choose_to_close(staying, len(staying) - wanted, self.settings.close_order, random):
            live = self._live[name]
            live.closing = asyncio.ensure_future(live.client.close())

    def _start(self) -> str:
        index, self._started = self._started, self._started + 1
        name, codec = f"client-{index:04d}", self.settings.mix.codec(index)
        client = LoadClient(
            name,
            self._clips[codec],
            self.settings.client,
            inspect=self.settings.mix.inspects(index),
            round_trip_seen=self._round_trips.add,
        )
        self._live[name] = _Live(client, asyncio.ensure_future(client.run()))
        return name

    def _collect(self) -> None:
        """Move what is over from the live sessions to the ended ones."""
        for name, live in list(self._live.items()):
            if not live.task.done():
                continue
            del self._live[name]
            statistics = live.client.statistics
            self._ended.append(statistics)
            if live.task.cancelled() or live.task.exception() is not None:
                _log.error("session crashed", session=name, error=repr(live.task))
            elif statistics.end_reason != "client closed":
                _log.info("session ended", session=name, reason=statistics.end_reason, detail=statistics.end_detail)

    async def _close_all(self) -> None:
        """Close every session at once; what is not closed in time is cancelled."""
        for live in self._live.values():
            live.closing = live.closing or asyncio.ensure_future(live.client.close())
        tasks: list[asyncio.Task[Any]] = [
            task for live in self._live.values() for task in (live.task, live.closing) if task
        ]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_CLOSE_ALL_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._collect()

    def _all(self) -> list[SessionStatistics]:
        return [*self._ended, *(live.client.statistics for live in self._live.values())]

    def status(self) -> dict[str, Any]:
        """The live figures; counts are since the start, round trips and the recent share of the last seconds."""
        sessions, now = self._all(), time.time()
        sent, returned = recent_returns(sessions, now)
        verdicts: Counter[str] = Counter()
        for one in sessions:
            verdicts.update(one.verdicts)
        return {
            "time": now,
            "elapsedSeconds": round(self._elapsed(), 1),
            "cpuSeconds": round(time.process_time(), 3),
            "wanted": self._wanted(),
            "running": len(self._live),
            "connected": sum(live.client.connected for live in self._live.values()),
            "offers": sum(one.offers for one in sessions),
            "rejections": sum(one.rejections for one in sessions),
            "sessionsRejected": sum(one.end_reason == "rejected" for one in sessions),
            "sessionsFailed": sum(one.end_reason == "failed" for one in sessions),
            "endedByServer": sum(one.ended_by_server for one in sessions),
            "silent": sum(live.client.silent for live in self._live.values()),
            "framesSent": sum(one.frames_sent for one in sessions),
            "framesReturned": sum(one.frames_returned for one in sessions),
            "recentReturnedShare": round(returned / sent, 4) if sent else None,
            "roundTripMilliseconds": self._round_trips.summary(now),
            "numbersWrong": sum(one.numbers_wrong for one in sessions),
            "numbersRight": sum(one.numbers_right for one in sessions),
            "verdicts": dict(verdicts),
        }

    def _publish(self) -> None:
        status = self.status()
        if self.settings.status_file is not None:
            _write(self.settings.status_file, status)
        if self.status_seen is not None:
            self.status_seen(status)

    def _report(self) -> dict[str, Any]:
        settings = self.settings
        report = {
            "serviceUrl": settings.client.service_url,
            "durationSeconds": round(self._elapsed(), 1),
            "checkedBy": "FFmpeg (through PyAV) decodes the returned video of the inspecting sessions",
            "totals": totals(self._ended, self._overloads),
            "perSession": [one.as_json() for one in self._ended],
        }
        if settings.report_file is not None:
            _write(settings.report_file, report)
        return report


def _write(path: Path, content: dict[str, Any]) -> None:
    """In one step, so that a reader never sees half a file."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)
