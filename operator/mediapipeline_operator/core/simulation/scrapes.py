"""The modelled Prometheus: samples of every pod at its own phase, staleness, rate() over counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS
from mediapipeline_operator.core.simulation.device import Device
from mediapipeline_operator.core.simulation.faults import Fault, FaultKind, is_active
from mediapipeline_operator.core.simulation.pods import SimPod

LOOKBACK_SECONDS = 300.0  # an instant query takes the newest sample, if it is not older than this
BUCKETS = len(LATENCY_BUCKETS_SECONDS)
NO_FRAMES = (0.0,) * BUCKETS


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape of one pod brought."""

    time: float
    sessions: float
    draining: bool
    received: float
    rejected: float
    busy_seconds: float
    buckets: tuple[float, ...]


@dataclass
class Series:
    """The samples of one pod. `stale` is when a staleness marker was written: the target failed or went away."""

    scrapes: deque[Scrape] = field(default_factory=lambda: deque(maxlen=128))
    stale: float | None = None
    up: bool | None = None
    _seen: dict[int, float] = field(default_factory=dict)

    def take(self, pod: SimPod, now: float, device: Device) -> None:
        """Appends a scrape. Buckets are brought up to date from the frames since the last one."""
        last = self.scrapes[-1] if self.scrapes else None
        buckets = list(last.buckets) if last else list(NO_FRAMES)
        received = last.received if last else 0.0
        for step, frames in pod.frames_at.items():
            more = frames - self._seen.get(step, 0.0)
            if more:
                self._seen[step] = frames
                received += more
                buckets = [have + more * share for have, share in zip(buckets, device.on_time(step), strict=True)]
        sessions = float(len(pod.sessions))
        self.scrapes.append(
            Scrape(now, sessions, pod.draining, received, pod.rejected, pod.busy_seconds, tuple(buckets))
        )
        self.stale, self.up = None, True

    def newest(self, now: float) -> Scrape | None:
        """What an instant selector returns at `now`."""
        found = next((scrape for scrape in reversed(self.scrapes) if scrape.time <= now), None)
        if found is None or now - found.time > LOOKBACK_SECONDS:
            return None
        return None if self.stale is not None and found.time < self.stale <= now else found

    def window(self, now: float, seconds: float) -> list[Scrape]:
        """The samples of a range selector: (now - seconds, now]."""
        found = []
        for scrape in reversed(self.scrapes):
            if scrape.time <= now - seconds:
                break
            if scrape.time <= now:
                found.append(scrape)
        return found[::-1]


@dataclass
class Scraper:
    """Scrapes the pods when they are due; keeps the series of pods that are gone for queries about the past."""

    device: Device
    interval: float
    faults: tuple[Fault, ...] = ()
    series: dict[str, Series] = field(default_factory=dict)

    def scrape(self, pods: Sequence[SimPod], now: float) -> None:
        """All scrapes due in this second."""
        if is_active(self.faults, FaultKind.STALE, now):
            return
        for pod in pods:
            due = int((now + pod.scrape_phase) // self.interval)
            if due != int((now - 1 + pod.scrape_phase) // self.interval) and pod.started(now):
                self._scrape(pod, now, due)

    def _scrape(self, pod: SimPod, now: float, turn: int) -> None:
        series = self.series.setdefault(pod.name, Series())
        if is_active(self.faults, FaultKind.HALF_TARGETS, now) and pod.number % 2:
            series.up, series.stale = False, series.stale if series.stale is not None else now
        elif not (is_active(self.faults, FaultKind.LATE_SCRAPES, now) and turn % 2):
            series.take(pod, now, self.device)

    def forget(self, pod: SimPod, now: float) -> None:
        """Service discovery no longer knows it: a staleness marker, and no `up`."""
        series = self.series.get(pod.name)
        if series is not None:
            series.stale, series.up = now, None

    def drop_old(self, now: float) -> None:
        """Series that no query can reach any more."""
        gone = [n for n, s in self.series.items() if s.stale is not None and s.up is None and now - s.stale > 900]
        for name in gone:
            del self.series[name]


def rates(scrapes: Sequence[Scrape], columns: Iterable[tuple[float, float]], now: float, seconds: float) -> list[float]:
    """rate() of several counters of one pod, given as (first, last) value within the window of two or more `scrapes`.

    Extrapolates to the ends of the window unless a sample seems to be missing there, and never below zero. Source:
    prometheus promql/functions.go, extrapolatedRate. Counters of one pod never reset: a restarted one is another pod.
    """
    first, last = scrapes[0].time, scrapes[-1].time
    sampled = last - first
    between = sampled / (len(scrapes) - 1)
    before, after = first - (now - seconds), now - last
    before = before if before < 1.1 * between else between / 2
    after = after if after < 1.1 * between else between / 2
    found = []
    for start, end in columns:
        increase = end - start
        to_zero = sampled * start / increase if increase > 0 else before
        found.append(increase * (sampled + min(before, to_zero) + after) / sampled / seconds)
    return found
