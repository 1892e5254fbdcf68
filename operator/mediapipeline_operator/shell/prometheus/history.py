"""A pipeline's past from Prometheus range queries: how many sessions there were, how many began, on how many pods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.shell.prometheus.answers import plain
from mediapipeline_operator.shell.prometheus.errors import QueryRefusedError
from mediapipeline_operator.shell.prometheus.reader import ReaderSettings, connect

MOST_POINTS = 5000  # Prometheus refuses more than 11,000 a series
SHORTEST_STEP_SECONDS = 15

Points = tuple[tuple[float, float], ...]  # (seconds since the start, value)


@dataclass(frozen=True, slots=True)
class History:
    """`refused_per_second` are offers for which there was no capacity. Gaps are simply absent."""

    step_seconds: int
    sessions: Points
    begun_per_second: Points
    refused_per_second: Points
    pods: Points

    @property
    def mean_session_seconds(self) -> float | None:
        """Little's law: mean sessions over mean arrival rate; None if nothing is known to have begun."""
        begun = _mean(self.begun_per_second)
        return _mean(self.sessions) / begun if begun > 0 else None

    @property
    def pod_hours(self) -> float:
        """What really ran."""
        return sum(value for _, value in self.pods) * self.step_seconds / 3600


def read_history(settings: ReaderSettings, key: Key, end: datetime, seconds: int) -> History:
    """Asks four range queries. Raises PrometheusError or what requests raises: see errors.to_problem."""
    client = connect(settings)
    step = max(SHORTEST_STEP_SECONDS, math.ceil(seconds / MOST_POINTS))
    start = end - timedelta(seconds=seconds)
    try:
        found = [
            to_points(plain(client.custom_query_range(query, start, end, str(step))), start.timestamp())
            for query in queries(key, 4 * step)
        ]
    finally:
        client.close()
    return History(step, *found)


def queries(key: Key, window_seconds: int) -> tuple[str, str, str, str]:
    """Sessions, begun and refused sessions a second, pods."""
    chosen = f'namespace="{key.namespace}",pipeline="{key.name}"'
    offers = f"sum(rate(mediapod_offers_total{{{chosen},result="
    return (
        f"sum(mediapod_sessions{{{chosen}}})",
        f'{offers}"accepted"}}[{window_seconds}s]))',
        f'{offers}"rejected_capacity"}}[{window_seconds}s]))',
        f"count(up{{{chosen}}})",
    )


def to_points(result: Any, start: float) -> Points:
    """The JSON of a matrix of at most one series. Raises QueryRefusedError for anything else; drops NaN and Inf."""
    if not isinstance(result, list) or len(result) > 1:
        raise QueryRefusedError("the answer is no matrix of one series")
    try:
        pairs = [(float(time) - start, float(value)) for item in result for time, value in item["values"]]
    except (KeyError, TypeError, ValueError) as error:
        raise QueryRefusedError(f"the answer is no matrix: {type(error).__name__}") from error
    return tuple((time, value) for time, value in pairs if math.isfinite(value))


def _mean(points: Sequence[tuple[float, float]]) -> float:
    return sum(value for _, value in points) / len(points) if points else 0.0
