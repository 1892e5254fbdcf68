"""Plays a list of visits: users who come and leave at given times, and come back when their session is lost.

A visit's end is fixed in advance, whether or not it could be served: what users wanted and did not get is a number.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from devcluster.load import compat
from devcluster.load.client import ClientSettings, LoadClient
from devcluster.load.clips import Clip, ClipSpec, load_clip
from devcluster.load.plan import MOST_SESSIONS, Mix
from devcluster.load.statistics import SessionStatistics, totals

LEAST_SECONDS = 2.0  # with less time left nobody tries again
RETURN_SECONDS = 1.0
CLOSING_SECONDS = 10.0


@dataclass(frozen=True)
class Visit:
    """A user wants a session from `start` to `end`, in seconds from the start of the run."""

    start: float
    end: float


@dataclass(frozen=True)
class VisitSettings:
    """A run. `began`: its start as seconds of the Unix epoch, so that several runs can begin as one."""

    client: ClientSettings
    visits: tuple[Visit, ...]
    began: float
    clip: ClipSpec = field(default_factory=ClipSpec)
    clip_folder: Path | None = None
    mix: Mix = field(default_factory=Mix)
    report_file: Path | None = None


@dataclass(frozen=True)
class Played:
    """A visit with the sessions that it had, one after the other."""

    visit: Visit
    sessions: tuple[SessionStatistics, ...]

    def absent_seconds(self, began: float) -> float:
        """Time of the visit without an accepted session. Connecting is not absence, being refused is."""
        start, end = began + self.visit.start, began + self.visit.end
        return max(0.0, end - start - sum(_served(one, start, end) for one in self.sessions))

    @property
    def killed(self) -> int:
        """Sessions that the service ended before the user did."""
        return sum(one.ended_by_server for one in self.sessions)


def _served(session: SessionStatistics, start: float, end: float) -> float:
    """Seconds of a session within the visit: from its offer if that was accepted at once, else from its connection."""
    if session.connect_seconds is None:
        return 0.0
    refused = session.rejections + session.failed_offers > 0
    begun = session.started_time + (session.connect_seconds if refused else 0.0)
    # the first client starts a moment after it is due: that is the generator's delay, nobody was refused
    begun = start if not refused and begun - start < RETURN_SECONDS else begun
    return max(0.0, min(session.ended_time or end, end) - max(begun, start))


def read_visits(path: Path) -> tuple[Visit, ...]:
    """Visits from a JSON list of [start, end] in seconds. Raises ValueError that names what is wrong."""
    try:
        found = tuple(Visit(float(start), float(end)) for start, end in json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: must be a list of [start, end] in seconds: {error}") from error
    if not found or any(not 0 <= one.start < one.end < math.inf for one in found):
        raise ValueError(f"{path}: needs visits with 0 <= start < end")
    if most_at_once(found) > MOST_SESSIONS:
        raise ValueError(f"{path}: {most_at_once(found)} visits at once; at most {MOST_SESSIONS}")
    return found


def most_at_once(visits: Sequence[Visit]) -> int:
    """The largest number of visits at one time."""
    changes = sorted([(one.end, -1) for one in visits] + [(one.start, 1) for one in visits])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


class VisitRunner:
    """`run` plays all visits and returns the report."""

    def __init__(self, settings: VisitSettings) -> None:
        self._settings = settings
        self._clips: dict[str, Clip] = {}

    async def run(self) -> dict[str, Any]:
        """Raises OSError when a clip or the report cannot be written."""
        await compat.self_test()
        compat.notice_loss_sooner()
        self._clips = await asyncio.to_thread(self._load_clips)
        visits = enumerate(self._settings.visits)
        played = await asyncio.gather(*(self._play(index, visit) for index, visit in visits))
        report = self._report(played)
        if self._settings.report_file is not None:
            self._settings.report_file.write_text(json.dumps(report, indent=1))
        return report

    def _load_clips(self) -> dict[str, Clip]:
        codecs = {self._settings.mix.codec(index) for index in range(len(self._settings.visits))}
        return {
            codec: load_clip(replace(self._settings.clip, codec=codec), self._settings.clip_folder) for codec in codecs
        }

    async def _play(self, index: int, visit: Visit) -> Played:
        await asyncio.sleep(max(0.0, self._settings.began + visit.start - time.time()))
        end, sessions = self._settings.began + visit.end, list[SessionStatistics]()
        while (left := end - time.time()) > LEAST_SECONDS:
            sessions.append(await self._session(index, len(sessions), left))
            if sessions[-1].end_reason == "client closed":
                break
            await asyncio.sleep(RETURN_SECONDS)
        return Played(visit, tuple(sessions))

    async def _session(self, index: int, attempt: int, seconds: float) -> SessionStatistics:
        """One session until it is lost or the visit is over."""
        mix, clip = self._settings.mix, self._clips[self._settings.mix.codec(index)]
        client = LoadClient(
            f"visit-{index:04d}-{attempt}",
            clip,
            replace(self._settings.client, retry_seconds=seconds),
            inspect=mix.inspects(index),
        )
        running = asyncio.ensure_future(client.run())
        await asyncio.wait((running,), timeout=seconds)
        if not running.done():
            await client.close()
            await asyncio.wait((running,), timeout=CLOSING_SECONDS)
        if not running.done():
            running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return client.statistics

    def _report(self, played: Sequence[Played]) -> dict[str, Any]:
        began = self._settings.began
        sessions = [session for one in played for session in one.sessions]
        return {
            "serviceUrl": self._settings.client.service_url,
            "began": began,
            "cpuSeconds": round(time.process_time(), 1),
            "visits": [
                {
                    "start": one.visit.start,
                    "end": one.visit.end,
                    "offered": round(one.sessions[0].started_time - began, 2) if one.sessions else None,
                    "absentSeconds": round(one.absent_seconds(began), 2),
                    "killed": one.killed,
                    "sessions": [_span(session, one.visit, began) for session in one.sessions],
                }
                for one in played
            ],
            "totals": totals(sessions),
            "perSession": [session.as_json() for session in sessions],
        }


def _span(session: SessionStatistics, visit: Visit, began: float) -> list[float]:
    """From when to when a session was connected, in seconds of the run; empty if it never was.

    Without an end its closing hung: the user had left all the same.
    """
    if session.connect_seconds is None:
        return []
    ended = visit.end if session.ended_time is None else min(visit.end, session.ended_time - began)
    return [round(session.started_time + session.connect_seconds - began, 2), round(ended, 2)]
