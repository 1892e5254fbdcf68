"""The laws that need no source: the bare rule on p95, and a number that never changes."""

from __future__ import annotations

from dataclasses import dataclass

from mediapipeline_operator.core.simulation.peers.law import Observed


@dataclass
class BareThreshold:
    """One more when p95 was above `upper` for `up_seconds`, one fewer when below `lower` for `down_seconds`."""

    upper_seconds: float = 0.1
    lower_seconds: float = 0.05
    up_seconds: float = 30.0
    down_seconds: float = 120.0
    period_seconds: int = 10
    _above: float | None = None
    _below: float | None = None

    def desired(self, seen: Observed) -> int:
        """No number: no change, and both waits begin anew."""
        value = seen.value("p95")
        self._above = self._since(self._above, value is not None and value > self.upper_seconds, seen.now)
        self._below = self._since(self._below, value is not None and value < self.lower_seconds, seen.now)
        if self._above is not None and seen.now - self._above >= self.up_seconds:
            self._above = None
            return seen.replicas + 1
        if self._below is not None and seen.now - self._below >= self.down_seconds:
            self._below = None
            return seen.replicas - 1
        return seen.replicas

    def _since(self, since: float | None, holds: bool, now: float) -> float | None:
        return (now if since is None else since) if holds else None


@dataclass(frozen=True)
class Static:
    """Always the same number."""

    replicas: int
    period_seconds: int = 10

    def desired(self, seen: Observed) -> int:
        """The number."""
        return self.replicas
