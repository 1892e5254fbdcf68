"""The PromQL of scaling: one batch for all pipelines, whose length depends on the number of different windows alone.

Every series has the labels namespace, pod and pipeline from the scrape configuration (the metrics contract).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mediapipeline_operator.api.spec import MediaPipelineSpec

WINDOW_SCRAPES = 4  # rate() needs two samples; four survive one lost scrape and a late one
GROWTH_SECONDS = 120
OURS = 'pipeline!=""'
BY_POD = "by (namespace, pipeline, pod)"


class Measure(StrEnum):
    """What a query of the batch measures."""

    UP = "up"
    AGE = "age"
    GAUGES = "gauges"
    DUPLICATES = "duplicates"
    GROWTH = "growth"
    FLEET_FRAMES = "fleet_frames"
    POD_FRAMES = "pod_frames"
    REJECTED = "rejected"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Query:
    """One instant query. `window_seconds` is 0 for those that do not depend on a window."""

    measure: Measure
    window_seconds: int
    promql: str


def window_seconds(spec: MediaPipelineSpec) -> int:
    """The window of all rates of a pipeline: longer ones would stretch a hiccup of 3 s into a minute of breach."""
    return WINDOW_SCRAPES * spec.monitoring.interval_seconds


def batch(specs: Iterable[MediaPipelineSpec]) -> tuple[Query, ...]:
    """All queries of one tick: five, and four for each distinct window among the pipelines."""
    bounds: dict[int, set[int]] = {}
    for spec in specs:
        upper = spec.autoscaling.latency.scale_up.above_milliseconds
        bounds.setdefault(window_seconds(spec), set()).add(upper)
    if not bounds:
        return ()
    rates = [query for window, uppers in sorted(bounds.items()) for query in rate_queries(window, uppers)]
    return (*gauge_queries(), *rates)


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
        # Mean growth of the last two minutes: a slope over a few fresh samples would see a burst as a trend.
        Measure.GROWTH: f"({total}) - {total} offset {GROWTH_SECONDS}s)) / {GROWTH_SECONDS}",
    }
    return tuple(Query(measure, 0, text) for measure, text in texts.items())


def rate_queries(window: int, upper_milliseconds: Iterable[int]) -> tuple[Query, ...]:
    """What happened within one window. rate() copes with counter resets."""
    le = bucket_pattern(upper_milliseconds)
    span = f"[{window}s]"
    # Received frames (no `le`) and buckets (with one) in one query: it sees one state of the database. In two, a scrape
    # that arrives in between, or rate()'s extrapolation to another moment, made 8 % missed look like 14 %.
    frames = '__name__=~"mediapod_frames_received_total|mediapod_frame_age_seconds_bucket"'
    texts = {
        Measure.FLEET_FRAMES: f"sum by (namespace, pipeline, le) (rate({{{frames},{OURS}}}{span}))",
        Measure.POD_FRAMES: f'sum by (namespace, pipeline, pod, le) (rate({{{frames},{OURS},le=~"|{le}"}}{span}))',
        Measure.REJECTED: f'sum {BY_POD} (rate(mediapod_offers_total{{{OURS},result="rejected_capacity"}}{span}))',
        # A share of a serial device. The CPU's seconds are those of all its threads together, no share of anything.
        Measure.BUSY: f'max {BY_POD} (rate(mediapod_device_busy_seconds_total{{{OURS},device!="cpu"}}{span}))',
    }
    return tuple(Query(measure, window, text) for measure, text in texts.items())


def bucket_pattern(milliseconds: Iterable[int]) -> str:
    """A regular expression for `le` that matches these bounds in both spellings, "1" and "1.0"."""
    spellings = {text for bound in milliseconds for text in (f"{bound / 1000:g}", str(bound / 1000))}
    return "|".join(re.escape(text).replace("\\", "\\\\") for text in sorted(spellings))
