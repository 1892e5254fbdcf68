"""A Prometheus that answers the operator's batch for thousands of pods with bytes made beforehand.

Each pod has four of eight sessions and half of its frames within 40 ms, so the right decision is to hold.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from aiohttp import web
from scale_cluster import PODS_EACH, name_of, pod_of

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling.queries import Measure, batch

SESSIONS, CAPACITY, FRAMES_PER_SECOND = 4, 8, 120.0
_PER_POD = {
    Measure.UP: 1.0,
    Measure.AGE: 2.0,
    Measure.REJECTED: 0.0,
    Measure.REQUESTS: 0.0,
    Measure.BUSY: 0.4,
}
_GAUGES = {
    "mediapod_sessions": SESSIONS,
    "mediapod_sessions_pending": 0,
    "mediapod_sessions_capacity": CAPACITY,
    "mediapod_draining": 0,
}


class FakePrometheus:
    """Serves /api/v1/query on a free port of 127.0.0.1; `asked` holds the (monotonic) times of all queries."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._bodies: dict[str, bytes] = {}
        self._runner: web.AppRunner | None = None
        self.asked: list[float] = []
        self.url = ""

    async def start(self) -> None:
        """Listens."""
        app = web.Application()
        app.router.add_route("*", "/api/v1/query", self._query)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Ends."""
        if self._runner is not None:
            await self._runner.cleanup()

    def serve(self, size: int, spec: MediaPipelineSpec) -> None:
        """From now on there are `size` pipelines like `spec`."""
        self._bodies = {query.promql: _vector(self._samples(query.measure, size, spec)) for query in batch([spec])}

    async def _query(self, request: web.Request) -> web.Response:
        self.asked.append(time.monotonic())
        form = await request.post() if request.method == "POST" else request.query
        body = self._bodies.get(str(form["query"]), _vector(()))
        return web.Response(body=body, content_type="application/json")

    def _samples(self, measure: Measure, size: int, spec: MediaPipelineSpec) -> Iterator[tuple[dict[str, str], float]]:
        for number in range(size):
            labels = {"namespace": self._namespace, "pipeline": name_of(number)}
            if measure is Measure.GROWTH:
                yield labels, 0.0
            elif measure is Measure.FLEET_FRAMES:
                yield labels, PODS_EACH * FRAMES_PER_SECOND
                for bound in LATENCY_BUCKETS_SECONDS:
                    yield {**labels, "le": f"{bound:g}"}, PODS_EACH * _within(bound)
            elif measure is not Measure.DUPLICATES:
                for index in range(PODS_EACH):
                    yield from _of_pod(measure, {**labels, "pod": pod_of(number, index)}, spec)


def _of_pod(
    measure: Measure, labels: dict[str, str], spec: MediaPipelineSpec
) -> Iterator[tuple[dict[str, str], float]]:
    if measure is Measure.GAUGES:
        for name, value in _GAUGES.items():
            yield {"__name__": name, **labels}, value
    elif measure is Measure.POD_FRAMES:
        yield labels, FRAMES_PER_SECOND
        bound = spec.autoscaling.latency.scale_up.above_milliseconds / 1000
        yield {**labels, "le": f"{bound:g}"}, _within(bound)
    else:
        yield labels, _PER_POD[measure]


def _within(bound_seconds: float) -> float:
    """Frames a second within a bound: half at 40 ms, all at 80 ms."""
    return FRAMES_PER_SECOND * min(1.0, max(0.0, bound_seconds / 0.08))


def _vector(samples: Iterator[tuple[dict[str, str], float]] | tuple[()]) -> bytes:
    now = time.time()
    result = [{"metric": labels, "value": [now, str(value)]} for labels, value in samples]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
