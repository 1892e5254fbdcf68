"""A stand-in for Prometheus that answers the operator's real queries, well or badly."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from faults.world import Json, World
from mediapipeline_operator.core.scaling.queries import Measure, gauge_queries

CAPACITY = 8
FRAMES_PER_SECOND = 30.0
_GAUGES = {query.promql: query.measure for query in gauge_queries()}
_BY_TEXT = {
    "rejected_capacity": Measure.REJECTED,
    "mediapod_device_busy": Measure.BUSY,
    "by (namespace, pipeline, pod, le)": Measure.POD_FRAMES,
    "by (namespace, pipeline, le)": Measure.FLEET_FRAMES,
}
MODES = (
    "down", "slow", "flapping", "empty", "nan", "stale", "duplicate", "half", "reset", "silent_targets", "nonsense",
    "one_refused",
)  # fmt: skip
_TOO_MUCH = {"status": "error", "errorType": "execution", "error": "query processing would load too many samples"}
Answer = tuple[int, bytes] | None  # None: the connection is cut


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of clients that did not wait for the answer."""


class FakePrometheus:
    """Knows the pods of one namespace; `sessions` are spread evenly over them. A context manager."""

    def __init__(self, world: World) -> None:
        self.mode = "well"
        self.sessions = 0
        self._asked = 0
        self._truth = threading.Lock()  # no answer is half of what was and half of what is
        self._world = world
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="prometheus", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def carry(self, sessions: int) -> None:
        """From now on so many sessions are there."""
        self.sessions = sessions

    def works_with(self, sessions: int) -> None:
        """Tells the truth, which is so many sessions."""
        with self._truth:
            self.sessions = sessions
            self.mode = "well"

    def fails(self, mode: str) -> None:
        """Tells something else than the truth, which is that nobody is there. A reset hides frames, not sessions."""
        with self._truth:
            self.mode = mode
            self.sessions = self.sessions if mode == "reset" else 0

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer: Callable[[str], Answer] = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = answer(parse_qs(urlsplit(self.path).query).get("query", [""])[0])
                if found is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, body = found
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler

    def _answer(self, promql: str) -> Answer:
        self._asked += 1
        if self.mode == "down" or (self.mode == "flapping" and self._asked % 2):
            return None
        if self.mode == "slow":
            time.sleep(10.0)
        if self.mode == "nonsense":
            return 200, b"<html>a proxy's login page</html>"
        if self.mode == "one_refused" and _GAUGES.get(promql) is Measure.GAUGES:
            return 422, json.dumps(_TOO_MUCH).encode()
        with self._truth:
            result = [] if self.mode == "empty" else list(self._samples(promql))
        return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()

    def _samples(self, promql: str) -> Iterator[Json]:
        measure = _GAUGES.get(promql) or next((what for text, what in _BY_TEXT.items() if text in promql), None)
        if measure is None:  # signals beside latency and sessions: nobody exports them here
            return
        pods = self._pods()
        told = pods[: len(pods) // 2] if self.mode == "half" else pods
        per_pod = measure is not Measure.FLEET_FRAMES
        rows = [row for pod in told for row in self._rows(measure, pod, len(pods))] if per_pod else self._fleet(told)
        value = {"nan": "NaN"}.get(self.mode)
        for _ in range(2 if self.mode == "duplicate" else 1):
            for labels, number in rows:
                yield {"metric": labels, "value": [time.time(), value or str(number)]}

    def _rows(self, measure: Measure, pod: Json, pods: int) -> Iterator[tuple[dict[str, str], float]]:
        meta = pod["metadata"]
        pipeline = meta["labels"]["media.rtcscale.dev/pipeline"]
        who = {"namespace": meta["namespace"], "pipeline": pipeline, "pod": meta["name"]}
        share = self.sessions / pods
        if measure is Measure.UP:
            yield who, 0.0 if self.mode == "silent_targets" else 1.0
        elif self.mode == "silent_targets":
            return
        elif measure is Measure.AGE:
            yield who, 120.0 if self.mode == "stale" else 1.0
        elif measure is Measure.GAUGES:
            numbers = {"sessions": share, "sessions_pending": 0, "sessions_capacity": CAPACITY, "draining": 0}
            yield from (({**who, "__name__": f"mediapod_{name}"}, number) for name, number in numbers.items())
        elif measure is Measure.POD_FRAMES:
            yield from (({**who, **le}, self._frames(pods)) for le in ({}, {"le": "0.1"}))

    def _fleet(self, told: list[Json]) -> list[tuple[dict[str, str], float]]:
        """All frames are on time, so all buckets are equal to the counter, which has no bound."""
        if not told or self.mode == "silent_targets":
            return []
        meta = told[0]["metadata"]
        who = {"namespace": meta["namespace"], "pipeline": meta["labels"]["media.rtcscale.dev/pipeline"]}
        frames = self._frames(1) * len(told) / len(self._pods())
        return [({**who, **le}, frames) for le in ({}, {"le": "0.05"}, {"le": "0.1"}, {"le": "+Inf"})]

    def _frames(self, pods: int) -> float:
        """Frames a second of each of so many pods."""
        return 0.0 if self.mode == "reset" else self.sessions * FRAMES_PER_SECOND / pods

    def _pods(self) -> list[Json]:
        label = "media.rtcscale.dev/pipeline"
        pods = [pod for pod in self._world.items("Pod") if label in (pod["metadata"].get("labels") or {})]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
