"""What goes wrong, and when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """Faults of the metric pipeline, and of the cluster."""

    PROMETHEUS_DOWN = "PrometheusDown"  # queries fail
    EMPTY = "Empty"  # queries answer with no series
    NAN = "NaN"  # queries answer NaN
    STALE = "Stale"  # Prometheus answers, but has stopped scraping
    HALF_TARGETS = "HalfTargets"  # every second pod cannot be scraped
    LATE_SCRAPES = "LateScrapes"  # every second scrape is left out
    PODS_PENDING = "PodsPending"  # new pods find no node
    ROLLOUT = "Rollout"  # a new revision is rolled out, surge 1, unavailable 0


BLINDING = frozenset(
    {FaultKind.PROMETHEUS_DOWN, FaultKind.EMPTY, FaultKind.NAN, FaultKind.STALE, FaultKind.HALF_TARGETS}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault from `start` to `end`, in seconds from the start of the run (a rollout only starts)."""

    kind: FaultKind
    start: float
    end: float

    def active(self, now: float) -> bool:
        return self.start <= now < self.end


def is_active(faults: tuple[Fault, ...], kind: FaultKind, now: float) -> bool:
    """Whether a fault of that kind is on."""
    return any(fault.kind is kind and fault.active(now) for fault in faults)


def is_blind(faults: tuple[Fault, ...], now: float) -> bool:
    """Whether measurements are missing or wrong."""
    return any(fault.kind in BLINDING and fault.active(now) for fault in faults)
