"""What the pods of one pipeline tell Prometheus, changed by a test while it runs."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from e2e.answering import Answer, answering
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS

FRAMES_PER_SECOND = 100


class Load:
    """Every frame is `age_seconds` old; above the top bucket, none comes back. Not `reachable`: the target is down."""

    def __init__(self) -> None:
        self.age_seconds = 0.02
        self.frames_per_second = FRAMES_PER_SECOND
        self.sessions = 3
        self.reachable = True
        self._frames = 0.0
        self._within = dict.fromkeys(LATENCY_BUCKETS_SECONDS, 0.0)
        self._last = time.monotonic()

    def exposition(self) -> str:
        now = time.monotonic()
        fresh, self._last = (now - self._last) * self.frames_per_second, now
        self._frames += fresh
        for bound in self._within:
            self._within[bound] += fresh * (bound >= self.age_seconds)
        rows = [
            f"mediapod_frames_received_total {self._frames}",
            f"mediapod_sessions {self.sessions}",
            "mediapod_sessions_pending 0",
            "app_request_latency_seconds_count 0",
            'app_request_latency_seconds_bucket{le="+Inf"} 0',
        ]
        buckets = {str(bound): count for bound, count in self._within.items()}
        buckets["+Inf"] = self._within[LATENCY_BUCKETS_SECONDS[-1]]
        rows += [f'mediapod_frame_age_seconds_bucket{{le="{le}"}} {count}' for le, count in buckets.items()]
        return "\n".join(rows) + "\n"


@contextmanager
def target(load: Load) -> Iterator[int]:
    """Port of a server that answers scrapes."""

    def answer(_path: str, _headers: Mapping[str, str]) -> Answer:
        found = (200, load.exposition().encode()) if load.reachable else (500, b"")
        return *found, "text/plain; version=0.0.4"

    with answering(answer) as port:
        yield port
