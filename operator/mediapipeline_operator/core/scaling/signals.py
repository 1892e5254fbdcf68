"""From the answers of one batch to the Signals of each pipeline. What is absent or not finite stays unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import LatencySource, MediaPipelineSpec
from mediapipeline_operator.core.scaling.model import PodSignals, Problem, ProblemKind, Signals
from mediapipeline_operator.core.scaling.queries import Measure, Query, window_seconds


class Series(msgspec.Struct, frozen=True, gc=False, rename={"name": "__name__"}):
    """The labels that the batch asks for, "" where a series has none."""

    namespace: str = ""
    pipeline: str = ""
    pod: str = ""
    le: str = ""
    name: str = ""  # of the metric


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One element of an instant vector.

    A tick makes hundreds of thousands of them. The garbage collector does not look at such structs, which hold nothing
    but text and numbers: with tuples in their place it took a third of the time of the batch.
    """

    value: float
    series: Series = Series()


Answer = Sequence[Sample] | Problem
OPTIONAL = frozenset(
    {
        Measure.GROWTH,
        Measure.REJECTED,
        Measure.BUSY,
        Measure.REQUESTS,
        Measure.GPU,
        Measure.CPU,
        Measure.MEMORY,
    }
)
PER_POD: Mapping[str, str] = {
    Measure.AGE: "age_seconds",
    Measure.REJECTED: "rejected_per_second",
    Measure.BUSY: "busy_share",
    Measure.REQUESTS: "requests_per_second",
    Measure.GPU: "gpu_percent",
    Measure.CPU: "cpu_cores",
    Measure.MEMORY: "memory_bytes",
}
GAUGES: Mapping[str, str] = {
    "mediapod_sessions": "sessions",
    "mediapod_sessions_pending": "pending",
    "mediapod_sessions_capacity": "capacity",
}
_FLAGS: Mapping[str, str] = {Measure.UP: "up", "mediapod_draining": "draining"}


class _Draft:
    """Signals in the making: all that was answered about one pipeline, by pod and what it is of."""

    __slots__ = ("fleet", "growth", "pods", "problem", "spec")

    def __init__(self, spec: MediaPipelineSpec) -> None:
        self.spec = spec
        self.problem: Problem | None = None
        self.pods: dict[str, dict[str, float]] = {}  # by pod: name of a metric, measure, or le of its frames
        self.fleet: dict[str, float] = {}  # by le
        self.growth: float | None = None


def interpret(
    pipelines: Iterable[tuple[Key, MediaPipelineSpec]], answers: Mapping[Query, Answer], taken: datetime | None = None
) -> dict[Key, Signals]:
    """Signals of every pipeline. A failed query concerns the pipelines of its window, a gauge query all of them.

    `taken`: when they were answered.
    """
    found: dict[Key, Signals] = {}
    by_window: dict[int, dict[Key, MediaPipelineSpec]] = {}
    for key, spec in pipelines:
        by_window.setdefault(window_seconds(spec), {})[key] = spec
    for window, members in by_window.items():
        relevant = {query: answer for query, answer in answers.items() if query.window_seconds in (0, window)}
        found.update(_window(window, members, relevant, taken))
    return found


def _window(
    window: int,
    members: Mapping[Key, MediaPipelineSpec],
    answers: Mapping[Query, Answer],
    taken: datetime | None,
) -> dict[Key, Signals]:
    failed = (a for query, a in answers.items() if isinstance(a, Problem) and query.measure not in OPTIONAL)
    problem = next(failed, None)
    if problem is not None:
        return {key: Signals(window_seconds=window, problem=problem, taken=taken) for key in members}
    drafts = {key: _Draft(spec) for key, spec in members.items()}
    by_frame = {key: draft for key, draft in drafts.items() if not _by_request(draft.spec)}
    by_request = {key: draft for key, draft in drafts.items() if _by_request(draft.spec)}
    for query, answer in answers.items():
        if not isinstance(answer, Problem):
            of_source = {False: by_frame, True: by_request, None: drafts}[_SOURCES.get(query.measure)]
            _fill(of_source, query.measure, answer)
    return {key: _finish(draft, window, taken) for key, draft in drafts.items()}


def _by_request(spec: MediaPipelineSpec) -> bool:
    return spec.autoscaling.latency.source is LatencySource.REQUEST


def _fill(wanted: Mapping[Key, _Draft], measure: Measure, samples: Sequence[Sample]) -> None:
    """Five thousand pipelines give 235,000 samples a tick: nothing is worked out here that _finish can do once for a
    pipeline.
    """
    take, isfinite = _TAKERS.get(measure, _take_pod), math.isfinite
    for sample in samples:
        series, value = sample.series, sample.value
        draft = wanted.get((series.namespace, series.pipeline))  # type: ignore[call-overload]  # equal to a Key
        if draft is not None and isfinite(value) and not take(draft, measure, series, value):
            text = f"several series for {measure.value} of {series.namespace}/{series.pipeline}"
            draft.problem = Problem(ProblemKind.SEVERAL_SERIES, text)


# Measures of latency are of the source that a pipeline chose (by request or not); other measures are for all.
_SOURCES = {
    Measure.FLEET_FRAMES: False,
    Measure.POD_FRAMES: False,
    Measure.FLEET_REQUESTS: True,
    Measure.POD_REQUESTS: True,
}


Taker = Callable[[_Draft, Measure, Series, float], bool]  # False: a second series where one is expected


def _take(values: dict[str, float], name: str, value: float) -> bool:
    known = len(values)
    values[name] = value
    return len(values) > known


def _take_pod(draft: _Draft, measure: Measure, series: Series, value: float) -> bool:
    return _take(draft.pods.setdefault(series.pod, {}), measure, value)


def _take_gauge(draft: _Draft, measure: Measure, series: Series, value: float) -> bool:
    return _take(draft.pods.setdefault(series.pod, {}), series.name, value)


def _take_pod_frames(draft: _Draft, measure: Measure, series: Series, value: float) -> bool:
    return _take(draft.pods.setdefault(series.pod, {}), series.le, value)


def _take_fleet(draft: _Draft, measure: Measure, series: Series, value: float) -> bool:
    return _take(draft.fleet, series.le, value)


def _take_growth(draft: _Draft, measure: Measure, series: Series, value: float) -> bool:
    known, draft.growth = draft.growth, value
    return known is None


def _take_duplicate(draft: _Draft, measure: Measure, series: Series, value: float) -> bool:
    text = f"{value:.0f} series for pod {series.pod}: two scrape configurations select it"
    draft.problem = Problem(ProblemKind.SEVERAL_SERIES, text)
    return True


_TAKERS: Mapping[Measure, Taker] = {
    Measure.GAUGES: _take_gauge,
    Measure.DUPLICATES: _take_duplicate,
    Measure.GROWTH: _take_growth,
    Measure.FLEET_FRAMES: _take_fleet,
    Measure.POD_FRAMES: _take_pod_frames,
    Measure.FLEET_REQUESTS: _take_fleet,
    Measure.POD_REQUESTS: _take_pod_frames,
}


@lru_cache(maxsize=1024)
def _bound(le: str) -> float | None:
    try:
        return float(le)
    except ValueError:
        return None


def with_own_query(signals: Signals, answer: Answer) -> Signals:
    """The signals with the answer to the pipeline's own query: exactly one finite, non-negative number of seconds.

    No series, and NaN (histogram_quantile without observations), are no samples; anything else is a problem.
    """
    if signals.problem is not None:
        return signals
    if isinstance(answer, Problem):
        return replace(signals, problem=answer)
    if len(answer) > 1:
        text = f"autoscaling.latency.query gives {len(answer)} series; aggregate them to one, for example with max()"
        return replace(signals, problem=Problem(ProblemKind.SEVERAL_SERIES, text))
    value = answer[0].value if answer else math.nan
    if math.isinf(value) or value < 0:
        text = f"autoscaling.latency.query gives {value:g}; a latency in seconds is finite and not negative"
        return replace(signals, problem=Problem(ProblemKind.VALUE, text))
    return signals if math.isnan(value) else replace(signals, latency_seconds=value)


def _finish(draft: _Draft, window: int, taken: datetime | None) -> Signals:
    upper = draft.spec.autoscaling.latency.scale_up.above_milliseconds / 1000
    return Signals(
        window_seconds=window,
        problem=draft.problem,
        pods={name: _pod(values, upper) for name, values in draft.pods.items()},
        received_per_second=draft.fleet.get(""),
        ok_per_second=_by_bound(draft.fleet),
        sessions_growth_per_second=draft.growth,
        taken=taken,
    )


def _by_bound(fleet: Mapping[str, float]) -> dict[float, float]:
    """`le` is compared as a number: "1" and "1.0" are the same bucket. Without `le` it is what was received."""
    found: dict[float, float] = {}
    for le, value in fleet.items():
        bound = _bound(le)
        if bound is not None:
            found[bound] = max(found.get(bound, 0.0), value)
    return found


def _pod(values: Mapping[str, float], upper_seconds: float) -> PodSignals:
    """Rates and ages are never negative; a small negative age is a difference between two clocks. A negative number of
    sessions is nonsense, and nonsense is unknown.
    """
    facts: dict[str, Any] = {}
    for name, value in values.items():
        if name in PER_POD:
            facts[PER_POD[name]] = max(0.0, value)
        elif name in _FLAGS:
            facts[_FLAGS[name]] = value > 0
        elif name in GAUGES:
            if value >= 0:
                facts[GAUGES[name]] = value
        elif name == "":
            facts["received_per_second"] = value
        elif _bound(name) == upper_seconds:
            facts["on_time_per_second"] = value
    return PodSignals(**facts)
