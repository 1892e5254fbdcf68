"""Every metric of the mediapod. Names, labels, buckets and meanings are an interface: the operator scales on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from mediapod.frames.ledger import Result, Stage
from mediapod.session.state import EndReason

LATENCY_BUCKETS = (
    0.005, 0.01, 0.015, 0.02, 0.025, 0.033, 0.04, 0.05, 0.06, 0.075, 0.08, 0.1,
    0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 5,
)  # fmt: skip
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
RECENT_REQUESTS = 1000  # the p95 gauge looks at this many


class OfferResult(StrEnum):
    """How an offer ended."""

    ACCEPTED = "accepted"
    PLACED = "placed"
    REJECTED_CAPACITY = "rejected_capacity"
    REJECTED_DRAINING = "rejected_draining"
    INVALID = "invalid"
    FAILED = "failed"


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU time and memory: signals that a pipeline may scale on
        self._frames(self.registry)
        self._sessions(self.registry)
        self._requests(self.registry)

    def _frames(self, registry: CollectorRegistry) -> None:
        self._received = Counter("mediapod_frames_received", "Complete frames that arrived.", registry=registry)
        frames = Counter(
            "mediapod_frames", "Received frames by how they ended; the sum is received.", ["result"], registry=registry
        )
        self._ended = {result: frames.labels(result.value) for result in Result}
        self._age = Histogram(
            "mediapod_frame_age_seconds",
            "Processed frames: first packet received until last packet sent.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        stages = Histogram(
            "mediapod_frame_stage_seconds",
            "Time of a frame in a stage.",
            ["stage"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._stages = {stage: stages.labels(stage.value) for stage in Stage}
        self._fallbacks = Counter(
            "mediapod_device_fallbacks", "GPU to CPU fallbacks by reason.", ["reason"], registry=registry
        )

    def _sessions(self, registry: CollectorRegistry) -> None:
        offers = Counter("mediapod_offers", "Offers by result.", ["result"], registry=registry)
        self._offers = {result: offers.labels(result.value) for result in OfferResult}
        ended = Counter(
            "mediapod_sessions_ended", "Sessions by the reason of their end.", ["reason"], registry=registry
        )
        self._sessions_ended = {reason: ended.labels(reason.value) for reason in EndReason}
        self._lag = Histogram(
            "mediapod_loop_lag_seconds", "How late the event loop runs.", buckets=LAG_BUCKETS, registry=registry
        )
        self._lost = Counter(
            "mediapod_processes_lost",
            "Processes of the pod that were replaced, by why.",
            ["process", "reason"],
            registry=registry,
        )
        self._build = Gauge("mediapod_build_info", "Always 1.", ["version", "device"], registry=registry)

    def _requests(self, registry: CollectorRegistry) -> None:
        self._request_count = Counter("app_requests", "HTTP requests by endpoint.", ["endpoint"], registry=registry)
        self._request_latency = Histogram(
            "app_request_latency_seconds", "Time to answer an HTTP request.", buckets=LATENCY_BUCKETS, registry=registry
        )
        self._recent: deque[float] = deque(maxlen=RECENT_REQUESTS)
        self.gauge("app_request_latency_p95_seconds", "p95 of the last 1000 HTTP requests.", self._request_p95)

    def frame_received(self) -> None:
        """See FrameMeter."""
        self._received.inc()

    def frame_ended(self, result: Result) -> None:
        """See FrameMeter."""
        self._ended[result].inc()

    def frame_age(self, seconds: float) -> None:
        """See FrameMeter."""
        self._age.observe(seconds)

    def stage(self, stage: Stage, seconds: float) -> None:
        """See FrameMeter."""
        self._stages[stage].observe(seconds)

    def session_ended(self, reason: EndReason) -> None:
        """Count the end of a session."""
        self._sessions_ended[reason].inc()

    def offer(self, result: OfferResult) -> None:
        """Count an offer."""
        self._offers[result].inc()

    def device_fallback(self, reason: str) -> None:
        """Count a fallback from GPU to CPU. Callable from any thread."""
        self._fallbacks.labels(reason).inc()

    def process_lost(self, process: str, reason: str) -> None:
        """Count a media worker or device process that crashed or hung."""
        self._lost.labels(process, reason).inc()

    def loop_lag(self, seconds: float) -> None:
        """Observe how late a timer of the event loop was."""
        self._lag.observe(seconds)

    def request(self, endpoint: str, seconds: float) -> None:
        """Count an HTTP request. endpoint: the route, never a raw path (unbounded)."""
        self._request_count.labels(endpoint).inc()
        self._request_latency.observe(seconds)
        self._recent.append(seconds)

    def build_info(self, version: str, device: str) -> None:
        """Publish version and device."""
        self._build.labels(version, device).set(1)

    def gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Publish a value that is read at each scrape."""
        Gauge(name, description, registry=self.registry).set_function(read)

    def device_busy(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Publish `read()`, device -> busy seconds, at each scrape."""
        self.registry.register(_DeviceBusy(read))

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type."""
        return prometheus_client.generate_latest(self.registry), prometheus_client.CONTENT_TYPE_LATEST

    def _request_p95(self) -> float:
        ordered = sorted(self._recent)
        return ordered[max(0, round(0.95 * len(ordered)) - 1)] if ordered else 0.0


class _DeviceBusy(Collector):
    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "mediapod_device_busy_seconds", "Time that a device has worked.", labels=["device"]
        )
        for device, seconds in sorted(self._read().items()):
            family.add_metric([device], seconds)
        yield family
