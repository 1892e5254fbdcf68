"""The metrics of several processes as those of one pod. Pure.

Counters and histograms add up. Gauges add up, too, unless their sum means nothing. What a process that has ended had
counted stays in the sum, so that no counter of the pod goes back; its gauges vanish with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

Combine = Callable[[float, float], float]
Key = tuple[str, tuple[tuple[str, str], ...]]

GAUGES: dict[str, Combine] = {
    "mediapod_draining": max,
    "mediapod_build_info": max,
    "app_request_latency_p95_seconds": max,
    "process_start_time_seconds": min,
    "process_max_fds": min,
}
FRAMES, RECEIVED, SUPERSEDED = "mediapod_frames_total", "mediapod_frames_received_total", {"result": "superseded"}


def parse(text: str) -> list[Metric]:
    """The metrics in Prometheus' text format. Raises ValueError."""
    return list(text_string_to_metric_families(text))


def merge(parts: Sequence[Iterable[Metric]]) -> list[Metric]:
    """The metrics of all parts, in the order in which they first come."""
    merged: dict[str, Metric] = {}
    values: dict[str, dict[Key, float]] = {}
    for part in parts:
        for metric in part:
            merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            _add(values.setdefault(metric.name, {}), metric)
    for name, metric in merged.items():
        metric.samples = [Sample(key[0], dict(key[1]), value) for key, value in values[name].items()]
    return list(merged.values())


def counted(metrics: Iterable[Metric]) -> list[Metric]:
    """What stays of a process that has ended: its counters and histograms. Frames that it had under way have ended with
    their sessions, so that the results still add up to what was received.
    """
    kept = merge([[metric for metric in metrics if metric.type in ("counter", "histogram")]])
    under_way = _total(kept, RECEIVED) - _total(kept, FRAMES)
    for metric in kept:
        metric.samples = [
            sample._replace(value=sample.value + under_way)
            if sample.name == FRAMES and sample.labels == SUPERSEDED
            else sample
            for sample in metric.samples
        ]
    return kept


def _add(values: dict[Key, float], metric: Metric) -> None:
    combine = GAUGES.get(metric.name, _sum) if metric.type == "gauge" else _sum
    for sample in metric.samples:
        key = sample.name, tuple(sorted(sample.labels.items()))
        values[key] = combine(values[key], sample.value) if key in values else sample.value


def _sum(one: float, other: float) -> float:
    return one + other


def _total(metrics: Iterable[Metric], name: str) -> float:
    return sum(sample.value for metric in metrics for sample in metric.samples if sample.name == name)
