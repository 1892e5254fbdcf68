"""Turns for rollouts that no spec asked for: at most so many pipelines at a time."""

from __future__ import annotations

from collections.abc import Iterable

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.metrics import Metrics


class RolloutTurns:
    """Who has a turn. A pipeline that waits asks again in its next pass, at the latest at the next tick."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._metrics = metrics
        self._rolling: set[Key] = set()
        self._waiting: set[Key] = set()

    def begin(self, rolling: Iterable[Key]) -> None:
        """At the start of a term every rollout counts, until the pipeline's own pass says what it is."""
        self._rolling = set(rolling)
        self._publish()

    def take(self, key: Key) -> bool:
        """Whether the pipeline may begin; it then has its turn until `note` ends it."""
        if key not in self._rolling and len(self._rolling) >= self._limit:
            return False
        self._rolling.add(key)
        return True

    def note(self, key: Key, *, rolling: bool, waiting: bool) -> None:
        """What the pipeline's pass has found."""
        if (key in self._rolling, key in self._waiting) != (rolling, waiting):
            (self._rolling.add if rolling else self._rolling.discard)(key)
            (self._waiting.add if waiting else self._waiting.discard)(key)
            self._publish()

    def forget(self, key: Key) -> None:
        """Drops a pipeline that is gone."""
        self.note(key, rolling=False, waiting=False)

    def _publish(self) -> None:
        self._metrics.template_rollouts.labels("running").set(len(self._rolling))
        self._metrics.template_rollouts.labels("waiting").set(len(self._waiting))
