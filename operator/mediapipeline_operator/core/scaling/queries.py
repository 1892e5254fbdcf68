"""The PromQL of scaling: one batch for all pipelines, whose length depends on the number of different windows alone.

Every series has the labels namespace, pod and pipeline from the scrape configuration (the metrics contract).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from mediapipeline_operator.api.spec import LatencySource, MediaPipelineSpec, SignalType
from mediapipeline_operator.core.expressions import BY_POD, dcgm_by_pod

WINDOW_SCRAPES = 4  # rate() needs two samples; four survive one lost scrape and a late one
GROWTH_SECONDS = 60  # two minutes saw a step half a minute later, and a load of that period not at all
OURS = 'pipeline!=""'


class Measure(StrEnum):
    """What a query of the batch measures."""

    UP = "up"
    AGE = "age"
    GAUGES = "gauges"
    DUPLICATES = "duplicates"
    GROWTH = "growth"
    FLEET_FRAMES = "fleet_frames"
    POD_FRAMES = "pod_frames"
    FLEET_REQUESTS = "fleet_requests"
    POD_REQUESTS = "pod_requests"
    REJECTED = "rejected"
    BUSY = "busy"
    REQUESTS = "requests"
    GPU = "gpu"
    CPU = "cpu"
    MEMORY = "memory"


MEANINGS = {
    Measure.UP: "Is the pod scraped at all? Every scrape writes `up`, a failed one 0. Absent: nobody "
    "scrapes, which is Missing and not idle.",
    Measure.AGE: "Seconds since the newest sample, by the server's clock: Stale beyond two scrapes.",
    Measure.GAUGES: "Sessions, connecting sessions, admission limit, draining, as they are now.",
    Measure.DUPLICATES: "Two scrape configurations on one pod double every sum; that is said instead of scaled on.",
    Measure.GROWTH: "Mean growth of sessions over a minute, for the arrivals during a start-up. A slope over a few "
    "samples would see a burst as a trend. Absent before the history exists.",
    Measure.FLEET_FRAMES: "Received frames (no `le`) and returned ones by age: miss(t) = 1 - bucket(t) / received. One "
    "query, so that both see one state of the database.",
    Measure.POD_FRAMES: "The same by pod at the upper thresholds in use, for the worst pod and the learned capacity.",
    Measure.FLEET_REQUESTS: "The same for HTTP requests, with latency.source Request.",
    Measure.POD_REQUESTS: "The same for HTTP requests by pod.",
    Measure.REJECTED: "Sessions refused for lack of capacity: the one load that no gauge shows.",
    Measure.BUSY: "Share of a serial device's time. The CPU's seconds are those of all its threads, no share.",
    Measure.REQUESTS: "HTTP requests: the signal RequestsPerSecond, and nobody is idle who is asked.",
    Measure.GPU: "Utilization by DCGM's exporter, whether or not its scrape configuration honors labels; the pod's "
    "session gauge lends the pipeline's name. Averaged over a minute: that exporter is scraped rarely.",
    Measure.CPU: "Cores used by the process, for the signal CPUUtilization (percent of the request).",
    Measure.MEMORY: "Resident memory, for the signal MemoryUtilization (percent of the request).",
}
SIGNAL_MEASURES = {
    SignalType.GPU_UTILIZATION: Measure.GPU,
    SignalType.CPU_UTILIZATION: Measure.CPU,
    SignalType.MEMORY_UTILIZATION: Measure.MEMORY,
}


@dataclass(frozen=True, slots=True)
class Query:
    """One instant query. `window_seconds` is 0 for those that do not depend on a window."""

    measure: Measure
    window_seconds: int
    promql: str


@dataclass
class _Needs:
    """What the pipelines of one window need beyond the rates that all need."""

    frame_bounds: set[int] = field(default_factory=set)
    request_bounds: set[int] = field(default_factory=set)
    signals: set[SignalType] = field(default_factory=set)

    def add(self, spec: MediaPipelineSpec) -> None:
        latency = spec.autoscaling.latency
        by_request = latency.source is LatencySource.REQUEST
        (self.request_bounds if by_request else self.frame_bounds).add(latency.scale_up.above_milliseconds)
        self.signals.update(signal.type for signal in spec.autoscaling.signals)


def window_seconds(spec: MediaPipelineSpec) -> int:
    """The window of all rates of a pipeline: longer ones would stretch a hiccup of 3 s into a minute of breach."""
    return WINDOW_SCRAPES * spec.monitoring.interval_seconds


def batch(specs: Iterable[MediaPipelineSpec]) -> tuple[Query, ...]:
    """All queries of one tick: five, and five for each distinct window among the pipelines; two more where pipelines of
    a window have source Request besides ones with another, and one for each kind of signal that is asked for.
    """
    needs: dict[int, _Needs] = {}
    for spec in specs:
        needs.setdefault(window_seconds(spec), _Needs()).add(spec)
    if not needs:
        return ()
    rates = [query for window, need in sorted(needs.items()) for query in _of_window(window, need)]
    return (*gauge_queries(), *rates)


def _of_window(window: int, need: _Needs) -> Iterator[Query]:
    if need.frame_bounds:
        yield from latency_queries(window, LatencySource.FRAME, need.frame_bounds)
    if need.request_bounds:
        yield from latency_queries(window, LatencySource.REQUEST, need.request_bounds)
    yield from rate_queries(window)
    wanted = (SIGNAL_MEASURES[kind] for kind in sorted(need.signals & SIGNAL_MEASURES.keys()))
    yield from (Query(measure, window, signal_query(measure, window)) for measure in wanted)


def gauge_queries() -> tuple[Query, ...]:
    """What is true now."""
    total = f"sum by (namespace, pipeline) (mediapod_sessions{{{OURS}}}"
    gauges = "mediapod_sessions|mediapod_sessions_pending|mediapod_sessions_capacity|mediapod_draining"
    texts = {
        # Every scrape writes `up`, also a failed one: its absence means that nobody scrapes.
        Measure.UP: f"max {BY_POD} (up{{{OURS}}})",
        # Age by the server's own clock; a clock of ours could differ.
        Measure.AGE: f"time() - max {BY_POD} (timestamp(mediapod_sessions{{{OURS}}}))",
        Measure.GAUGES: f'max by (__name__, namespace, pipeline, pod) ({{__name__=~"{gauges}",{OURS}}})',
        # Two scrape configurations that select the same pod double every sum.
        Measure.DUPLICATES: f"count {BY_POD} (mediapod_frames_received_total{{{OURS}}}) > 1",
        # Mean growth of the last minute: a slope over a few fresh samples would see a burst as a trend.
        Measure.GROWTH: f"({total}) - {total} offset {GROWTH_SECONDS}s)) / {GROWTH_SECONDS}",
    }
    return tuple(Query(measure, 0, text) for measure, text in texts.items())


_HISTOGRAMS = {
    LatencySource.FRAME: (
        Measure.FLEET_FRAMES,
        Measure.POD_FRAMES,
        "mediapod_frames_received_total|mediapod_frame_age_seconds_bucket",
    ),
    LatencySource.REQUEST: (
        Measure.FLEET_REQUESTS,
        Measure.POD_REQUESTS,
        "app_request_latency_seconds_count|app_request_latency_seconds_bucket",
    ),
}


def latency_queries(window: int, source: LatencySource, upper_milliseconds: Iterable[int]) -> tuple[Query, ...]:
    """What arrived (no `le`) and how much of it was answered in which time (with one).

    Both in one query: it sees one state of the database. In two, a scrape that arrives in between, or rate()'s
    extrapolation to another moment, made 8 % missed look like 14 %.
    """
    fleet, pod, names = _HISTOGRAMS[source]
    le, span = bucket_pattern(upper_milliseconds), f"[{window}s]"
    series = f'__name__=~"{names}",{OURS}'
    return (
        Query(fleet, window, f"sum by (namespace, pipeline, le) (rate({{{series}}}{span}))"),
        Query(pod, window, f'sum by (namespace, pipeline, pod, le) (rate({{{series},le=~"|{le}"}}{span}))'),
    )


def rate_queries(window: int) -> tuple[Query, ...]:
    """What happened within one window, for all pipelines. rate() copes with counter resets."""
    span = f"[{window}s]"
    texts = {
        Measure.REJECTED: f'sum {BY_POD} (rate(mediapod_offers_total{{{OURS},result="rejected_capacity"}}{span}))',
        # A share of a serial device. The CPU's seconds are those of all its threads together, no share of anything.
        Measure.BUSY: f'max {BY_POD} (rate(mediapod_device_busy_seconds_total{{{OURS},device!="cpu"}}{span}))',
        # The counter by endpoint does not exist before the first request.
        Measure.REQUESTS: f"sum {BY_POD} (rate(app_request_latency_seconds_count{{{OURS}}}{span}))",
    }
    return tuple(Query(measure, window, text) for measure, text in texts.items())


def signal_query(measure: Measure, window: int) -> str:
    """A signal's value by pod: percent of the GPU, cores, bytes."""
    span = f"[{window}s]"
    if measure is Measure.CPU:
        return f"sum {BY_POD} (rate(process_cpu_seconds_total{{{OURS}}}{span}))"
    if measure is Measure.MEMORY:
        return f"sum {BY_POD} (avg_over_time(process_resident_memory_bytes{{{OURS}}}{span}))"
    return dcgm_by_pod(OURS)


def bucket_pattern(milliseconds: Iterable[int]) -> str:
    """A regular expression for `le` that matches these bounds in both spellings, "1" and "1.0"."""
    spellings = {text for bound in milliseconds for text in (f"{bound / 1000:g}", str(bound / 1000))}
    return "|".join(re.escape(text).replace("\\", "\\\\") for text in sorted(spellings))
