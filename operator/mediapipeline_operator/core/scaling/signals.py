"""From the answers of one batch to the Signals of each pipeline. What is absent or not finite stays unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import LatencySource, MediaPipelineSpec
from mediapipeline_operator.core.scaling.model import PodSignals, Problem, ProblemKind, Signals
from mediapipeline_operator.core.scaling.queries import Measure, Query, window_seconds


class Sample(NamedTuple):
    """One element of an instant vector: its value, and the labels that the batch asks for, "" where it has none.

    A tick makes hundreds of thousands of them: a tuple is the cheapest, and a mapping of labels for each is not.
    """

    value: float
    namespace: str = ""
    pipeline: str = ""
    pod: str = ""
    le: str = ""
    name: str = ""  # of the metric


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
PER_POD = {
    Measure.AGE: "age_seconds",
    Measure.REJECTED: "rejected_per_second",
    Measure.BUSY: "busy_share",
    Measure.REQUESTS: "requests_per_second",
    Measure.GPU: "gpu_percent",
    Measure.CPU: "cpu_cores",
    Measure.MEMORY: "memory_bytes",
}
GAUGES = {
    "mediapod_sessions": "sessions",
    "mediapod_sessions_pending": "pending",
    "mediapod_sessions_capacity": "capacity",
}


@dataclass
class _Draft:
    """Signals in the making."""

    problem: Problem | None = None
    pods: dict[str, dict[str, float]] = field(default_factory=dict)
    ok: dict[float, float] = field(default_factory=dict)
    received: float | None = None
    growth: float | None = None

    def put(self, pod: str, name: str, value: float) -> None:
        self.pods.setdefault(pod, {})[name] = value


def interpret(
    pipelines: Iterable[tuple[Key, MediaPipelineSpec]], answers: Mapping[Query, Answer]
) -> dict[Key, Signals]:
    """Signals of every pipeline. A failed query concerns the pipelines of its window, a gauge query all of them."""
    found: dict[Key, Signals] = {}
    by_window: dict[int, dict[Key, MediaPipelineSpec]] = {}
    for key, spec in pipelines:
        by_window.setdefault(window_seconds(spec), {})[key] = spec
    for window, members in by_window.items():
        relevant = {query: answer for query, answer in answers.items() if query.window_seconds in (0, window)}
        found.update(_window(window, members, relevant))
    return found


def _window(
    window: int, members: Mapping[Key, MediaPipelineSpec], answers: Mapping[Query, Answer]
) -> dict[Key, Signals]:
    failed = (a for query, a in answers.items() if isinstance(a, Problem) and query.measure not in OPTIONAL)
    problem = next(failed, None)
    if problem is not None:
        return {key: Signals(window_seconds=window, problem=problem) for key in members}
    drafts = {key: (_Draft(), spec) for key, spec in members.items()}
    by_frame = {key: draft for key, draft in drafts.items() if not _by_request(draft[1])}
    by_request = {key: draft for key, draft in drafts.items() if _by_request(draft[1])}
    for query, answer in answers.items():
        if not isinstance(answer, Problem):
            of_source = {False: by_frame, True: by_request, None: drafts}[_SOURCES.get(query.measure)]
            _fill(of_source, query.measure, answer)
    return {key: _finish(draft, window) for key, (draft, _) in drafts.items()}


def _by_request(spec: MediaPipelineSpec) -> bool:
    return spec.autoscaling.latency.source is LatencySource.REQUEST


def _fill(wanted: Mapping[Key, tuple[_Draft, MediaPipelineSpec]], measure: Measure, samples: Sequence[Sample]) -> None:
    """Five thousand pipelines give 235,000 samples a tick: what is the same for all samples of one is looked up once.

    Two samples that differ in nothing but the value are two series where one is expected.
    """
    read, seen, isfinite = READERS[measure], set[tuple[str, ...]](), math.isfinite
    for sample in samples:
        found = wanted.get(sample[1:3])  # type: ignore[call-overload]  # equal to a Key, and a Key costs as much as it
        if found is None or not isfinite(sample[0]):
            continue
        identity = sample[1:]
        if identity in seen:
            text = f"several series for {measure.value} of {sample.namespace}/{sample.pipeline}"
            found[0].problem = Problem(ProblemKind.SEVERAL_SERIES, text)
        seen.add(identity)
        read(found[0], found[1], measure, sample)


# Measures of latency are of the source that a pipeline chose (by request or not); other measures are for all.
_SOURCES = {
    Measure.FLEET_FRAMES: False,
    Measure.POD_FRAMES: False,
    Measure.FLEET_REQUESTS: True,
    Measure.POD_REQUESTS: True,
}


Reader = Callable[[_Draft, MediaPipelineSpec, Measure, Sample], None]


def _read_pod(draft: _Draft, spec: MediaPipelineSpec, measure: Measure, sample: Sample) -> None:
    """Rates and ages are never negative; a small negative age is a difference between two clocks."""
    draft.put(sample.pod, PER_POD[measure], max(0.0, sample.value))


def _read_up(draft: _Draft, spec: MediaPipelineSpec, measure: Measure, sample: Sample) -> None:
    draft.put(sample.pod, "up", sample.value)


def _read_gauge(draft: _Draft, spec: MediaPipelineSpec, measure: Measure, sample: Sample) -> None:
    """A negative number of sessions is nonsense, and nonsense is unknown."""
    if sample.name == "mediapod_draining":
        draft.put(sample.pod, "draining", sample.value)
    elif sample.name in GAUGES and sample.value >= 0:
        draft.put(sample.pod, GAUGES[sample.name], sample.value)


def _read_duplicate(draft: _Draft, spec: MediaPipelineSpec, measure: Measure, sample: Sample) -> None:
    text = f"{sample.value:.0f} series for pod {sample.pod}: two scrape configurations select it"
    draft.problem = Problem(ProblemKind.SEVERAL_SERIES, text)


def _read_growth(draft: _Draft, spec: MediaPipelineSpec, measure: Measure, sample: Sample) -> None:
    draft.growth = sample.value


def _read_fleet(draft: _Draft, spec: MediaPipelineSpec, measure: Measure, sample: Sample) -> None:
    """Without `le` it is the received frames. `le` is compared as a number: "1" and "1.0" are the same bucket."""
    if not sample.le:
        draft.received = sample.value
    elif (bound := _bound(sample.le)) is not None:
        draft.ok[bound] = max(draft.ok.get(bound, 0.0), sample.value)


def _read_pod_frames(draft: _Draft, spec: MediaPipelineSpec, measure: Measure, sample: Sample) -> None:
    if not sample.le:
        draft.put(sample.pod, "received_per_second", sample.value)
    elif _bound(sample.le) == spec.autoscaling.latency.scale_up.above_milliseconds / 1000:
        draft.put(sample.pod, "on_time_per_second", sample.value)


@lru_cache(maxsize=1024)
def _bound(le: str) -> float | None:
    try:
        return float(le)
    except ValueError:
        return None


READERS: Mapping[Measure, Reader] = {
    Measure.UP: _read_up,
    Measure.GAUGES: _read_gauge,
    Measure.DUPLICATES: _read_duplicate,
    Measure.GROWTH: _read_growth,
    Measure.FLEET_FRAMES: _read_fleet,
    Measure.POD_FRAMES: _read_pod_frames,
    Measure.FLEET_REQUESTS: _read_fleet,
    Measure.POD_REQUESTS: _read_pod_frames,
} | dict.fromkeys(PER_POD, _read_pod)


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


def _finish(draft: _Draft, window: int) -> Signals:
    return Signals(
        window_seconds=window,
        problem=draft.problem,
        pods={pod: _pod(values) for pod, values in draft.pods.items()},
        received_per_second=draft.received,
        ok_per_second=dict(draft.ok),
        sessions_growth_per_second=draft.growth,
    )


def _pod(values: Mapping[str, float]) -> PodSignals:
    flags = {name: values[name] > 0 for name in ("up", "draining") if name in values}
    numbers = {name: value for name, value in values.items() if name not in flags}
    return PodSignals(**numbers, **flags)  # type: ignore[arg-type]  # names are those of PER_POD, GAUGES and the flags
