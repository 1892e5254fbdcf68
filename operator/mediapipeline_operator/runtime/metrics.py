"""The operator's own metrics.

`mediapipeline_operator_*` tell of the operator, `mediapipeline_autoscaler_*` of each pipeline's scaling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mediapipeline_operator.api.pipeline import Key

Sample = tuple[str, Mapping[str, str], float]


class PipelineGauges(Collector):
    """Gauges of pipelines, replaced as a whole after each pass: a pipeline that is gone leaves no stale series."""

    def __init__(self) -> None:
        self._samples: dict[Key, Callable[[], Iterable[Sample]]] = {}

    def replace(self, key: Key, samples: Callable[[], Iterable[Sample]]) -> None:
        """What gives the pipeline's samples (metric name, labels, value) when somebody asks for the metrics: there are
        more passes than scrapes.
        """
        self._samples[key] = samples

    def forget(self, key: Key) -> None:
        self._samples.pop(key, None)

    def clear(self) -> None:
        self._samples.clear()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One family a name; pipelines have the same label names for the same metric."""
        families: dict[str, GaugeMetricFamily] = {}
        for key, samples in tuple(self._samples.items()):
            for name, own_labels, value in samples():
                labels = {"namespace": key.namespace, "pipeline": key.name, **own_labels}
                family = families.setdefault(
                    name, GaugeMetricFamily(name, "Scaling of a MediaPipeline.", labels=tuple(labels))
                )
                family.add_metric(tuple(labels.values()), value)
        return families.values()


class Metrics:
    """All metrics in one registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "mediapipeline_operator_"
        self.reconciles = Counter(f"{prefix}reconciles", "Passes by result.", ["result"], registry=self.registry)
        self.reconcile_seconds = Histogram(
            f"{prefix}reconcile_seconds", "Duration of a pass.", registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip
        self.queue_depth = Gauge(f"{prefix}queue_depth", "Pipelines that wait for a worker.", registry=self.registry)
        self.queue_age_seconds = Histogram(
            f"{prefix}queue_age_seconds", "Time from due to started.", registry=self.registry
        )
        self.leader = Gauge(f"{prefix}leader", "1 while this process leads.", registry=self.registry)
        self.pipelines = Gauge(f"{prefix}pipelines", "MediaPipelines that are looked after.", registry=self.registry)
        self.template_rollouts = Gauge(
            f"{prefix}template_rollouts", "Rollouts that no spec asked for, by state: running or waiting.", ["state"],
            registry=self.registry,
        )  # fmt: skip
        self.tasks = Gauge(
            f"{prefix}tasks", "asyncio tasks of the process; a number that grows for hours is a leak.",
            registry=self.registry,
        )  # fmt: skip
        ProcessCollector(registry=self.registry)
        self.writes = Counter(f"{prefix}writes", "Writes to the API server.", ["kind", "verb"], registry=self.registry)
        self.first_passes = Gauge(
            f"{prefix}first_passes", "Pipelines that had a pass since this process leads.", registry=self.registry
        )
        buckets = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30)
        self.batch_seconds = Histogram(
            "mediapipeline_autoscaler_batch_seconds", "Duration of a tick's batch of queries.", buckets=buckets,
            registry=self.registry,
        )  # fmt: skip
        self.tick_seconds = Histogram(
            "mediapipeline_autoscaler_tick_seconds", "From the start of a tick's queries to its last decision.",
            buckets=buckets, registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            "mediapipeline_autoscaler_decisions", "Changed decisions by action and reason.", ["action", "reason"],
            registry=self.registry,
        )  # fmt: skip
        self.gauges = PipelineGauges()
        self.registry.register(self.gauges)
