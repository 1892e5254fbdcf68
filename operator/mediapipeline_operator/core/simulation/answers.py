"""Answers of the modelled Prometheus to the production batch of queries, and the few numbers that the peers read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS
from mediapipeline_operator.core.scaling import Problem, ProblemKind
from mediapipeline_operator.core.scaling.queries import GROWTH_SECONDS, Measure, Query
from mediapipeline_operator.core.scaling.signals import Answer, Sample
from mediapipeline_operator.core.scaling.signals import Series as Labels
from mediapipeline_operator.core.simulation.faults import FaultKind, is_active
from mediapipeline_operator.core.simulation.scrapes import Scrape, Scraper, Series, rates

NAMESPACE, NAME = "simulation", "pipeline"
BOUND_TEXTS = tuple(f"{bound:g}" for bound in LATENCY_BUCKETS_SECONDS)
DOWN = Problem(ProblemKind.DOWN, "Prometheus is down (modelled)")


@dataclass(frozen=True)
class ModelledPrometheus:
    """Answers queries from what has been scraped."""

    scraper: Scraper
    capacity_per_replica: int
    upper_seconds: float

    def answer(self, queries: Iterable[Query], now: float) -> dict[Query, Answer]:
        """One batch. Measures that the model does not know are left out, as if Prometheus had no such series."""
        faults = self.scraper.faults
        wanted = tuple(queries)
        if is_active(faults, FaultKind.PROMETHEUS_DOWN, now):
            return dict.fromkeys(wanted, DOWN)
        if is_active(faults, FaultKind.EMPTY, now):
            return {query: [] for query in wanted}
        known = {query: READERS[query.measure](self, query, now) for query in wanted if query.measure in READERS}
        if is_active(faults, FaultKind.NAN, now):
            return {query: [Sample(math.nan, sample.series) for sample in found] for query, found in known.items()}
        return dict(known)

    def newest(self, now: float) -> dict[str, Scrape]:
        """The newest sample of every pod that has one."""
        found = ((name, series.newest(now)) for name, series in self.scraper.series.items())
        return {name: scrape for name, scrape in found if scrape is not None}

    def _up(self, query: Query, now: float) -> list[Sample]:
        return [_of(name, float(s.up)) for name, s in self.scraper.series.items() if s.up is not None]

    def _age(self, query: Query, now: float) -> list[Sample]:
        return [_of(name, now - scrape.time) for name, scrape in self.newest(now).items()]

    def _gauges(self, query: Query, now: float) -> list[Sample]:
        samples = []
        for name, scrape in self.newest(now).items():
            values = (scrape.sessions, 0.0, self.capacity_per_replica, float(scrape.draining))
            for metric, value in zip(GAUGE_NAMES, values, strict=True):
                samples.append(Sample(value, Labels(NAMESPACE, NAME, name, name=metric)))
        return samples

    def _nothing(self, query: Query, now: float) -> list[Sample]:
        return []

    def _growth(self, query: Query, now: float) -> list[Sample]:
        here, before = self.total_sessions(now), self.total_sessions(now - GROWTH_SECONDS)
        if here is None or before is None:
            return []
        return [Sample((here - before) / GROWTH_SECONDS, Labels(NAMESPACE, NAME))]

    def total_sessions(self, now: float) -> float | None:
        """sum(mediapod_sessions); None when there is no series at all."""
        found = self.newest(now)
        return sum(scrape.sessions for scrape in found.values()) if found else None

    def fleet_frames(self, now: float, seconds: float) -> list[float] | None:
        """Rates of the received frames and of every bucket, summed over the pods; None without a rate."""
        total: list[float] | None = None
        for _, found in self._windows(now, seconds):
            first, last = found[0], found[-1]
            columns = [(first.received, last.received), *zip(first.buckets, last.buckets, strict=True)]
            values = rates(found, columns, now, seconds)
            total = values if total is None else [a + b for a, b in zip(total, values, strict=True)]
        return total

    def p95_seconds(self, now: float, seconds: float) -> float | None:
        """histogram_quantile(0.95), missed frames above the top bound; NaN without frames, None without series."""
        frames = self.fleet_frames(now, seconds)
        return None if frames is None else quantile(0.95, frames[0], frames[1:])

    def _windows(self, now: float, seconds: float) -> list[tuple[str, list[Scrape]]]:
        """rate() sees the samples of the window, also of a pod that has just gone."""
        found = ((name, self._window(series, now, seconds)) for name, series in self.scraper.series.items())
        return [(name, scrapes) for name, scrapes in found if len(scrapes) >= 2]

    def _window(self, series: Series, now: float, seconds: float) -> list[Scrape]:
        return series.window(now, seconds)

    def _fleet_frames(self, query: Query, now: float) -> list[Sample]:
        frames = self.fleet_frames(now, query.window_seconds)
        if frames is None:
            return []
        buckets = [
            Sample(rate, Labels(NAMESPACE, NAME, le=le)) for le, rate in zip(BOUND_TEXTS, frames[1:], strict=True)
        ]
        return [Sample(frames[0], Labels(NAMESPACE, NAME)), *buckets]

    def _pod_frames(self, query: Query, now: float) -> list[Sample]:
        upper = LATENCY_BUCKETS_SECONDS.index(self.upper_seconds)
        samples = []
        for name, found in self._windows(now, query.window_seconds):
            first, last = found[0], found[-1]
            columns = [(first.received, last.received), (first.buckets[upper], last.buckets[upper])]
            received, on_time = rates(found, columns, now, query.window_seconds)
            samples += [_of(name, received), Sample(on_time, Labels(NAMESPACE, NAME, name, BOUND_TEXTS[upper]))]
        return samples

    def _rejected(self, query: Query, now: float) -> list[Sample]:
        return self._rates(lambda scrape: scrape.rejected, query, now)

    def _busy(self, query: Query, now: float) -> list[Sample]:
        return self._rates(lambda scrape: scrape.busy_seconds, query, now)

    def _rates(self, value: Callable[[Scrape], float], query: Query, now: float) -> list[Sample]:
        seconds = query.window_seconds
        return [
            _of(name, rates(found, [(value(found[0]), value(found[-1]))], now, seconds)[0])
            for name, found in self._windows(now, seconds)
        ]


def _of(pod: str, value: float) -> Sample:
    return Sample(value, Labels(NAMESPACE, NAME, pod))


def quantile(share: float, total: float, buckets: list[float]) -> float:
    """histogram_quantile over LATENCY_BUCKETS_SECONDS: linear within a bucket, saturated at the top finite bound."""
    if total <= 0:
        return math.nan
    rank, below, lower = share * total, 0.0, 0.0
    for bound, count in zip(LATENCY_BUCKETS_SECONDS, buckets, strict=True):
        if count >= rank:
            return lower + (bound - lower) * ((rank - below) / (count - below) if count > below else 1.0)
        below, lower = count, bound
    return LATENCY_BUCKETS_SECONDS[-1]


GAUGE_NAMES = ("mediapod_sessions", "mediapod_sessions_pending", "mediapod_sessions_capacity", "mediapod_draining")
Reader = Callable[[ModelledPrometheus, Query, float], list[Sample]]
READERS: Mapping[Measure, Reader] = {
    Measure.UP: ModelledPrometheus._up,  # noqa: SLF001  its own table
    Measure.AGE: ModelledPrometheus._age,  # noqa: SLF001
    Measure.GAUGES: ModelledPrometheus._gauges,  # noqa: SLF001
    Measure.DUPLICATES: ModelledPrometheus._nothing,  # noqa: SLF001
    Measure.GROWTH: ModelledPrometheus._growth,  # noqa: SLF001
    Measure.FLEET_FRAMES: ModelledPrometheus._fleet_frames,  # noqa: SLF001
    Measure.POD_FRAMES: ModelledPrometheus._pod_frames,  # noqa: SLF001
    Measure.REJECTED: ModelledPrometheus._rejected,  # noqa: SLF001
    Measure.BUSY: ModelledPrometheus._busy,  # noqa: SLF001
}
