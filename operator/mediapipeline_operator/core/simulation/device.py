"""The latency curve of a serial device: flat until saturation, then vertical, and beyond it frames are dropped.

Below saturation the wait of a frame has the tail P(wait > b services) = exp(-2 b (b/N + 1 - rho)) for N periodic
sources (the Brownian-bridge approximation of the sum-D/D/1 queue: Roberts and Virtamo, IEEE Trans. Commun. 39(2),
1991). Above it the newest frame of each session is kept and the rest is dropped: a share of 1/rho is served, each
within one frame interval. Poisson requests queue as in M/M/1/K, where K is what the deadline lets wait.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS
from mediapipeline_operator.core.simulation.loads import MEAN_FRAME_RATE

STEPS_PER_UNIT = 50  # utilisation is rounded to 2 %: one row of the table for each
MOST_STEPS = 4 * STEPS_PER_UNIT
BASE_SECONDS = 0.006  # decoding, encoding, the network of the pod

Shares = tuple[float, ...]


class Arrivals(StrEnum):
    """How frames come to the device."""

    PERIODIC = "Periodic"
    POISSON = "Poisson"


@dataclass
class Device:
    """A device that serves one frame at a time, `service_seconds` each, and drops what is older than the deadline."""

    service_seconds: float
    deadline_seconds: float = 0.1
    arrivals: Arrivals = Arrivals.PERIODIC
    session_frame_rate: float = MEAN_FRAME_RATE
    _rows: dict[int, Shares] = field(default_factory=dict)

    def step(self, frames_per_second: float, slowdown: float) -> int:
        """The table row of a load; `slowdown` 2 is a device that takes twice as long."""
        return min(MOST_STEPS, round(frames_per_second * self.service_seconds * slowdown * STEPS_PER_UNIT))

    def on_time(self, step: int) -> Shares:
        """Shares of the received frames that come back within each bound of LATENCY_BUCKETS_SECONDS."""
        row = self._rows.get(step)
        if row is None:
            row = tuple(self._share(step / STEPS_PER_UNIT, bound) for bound in LATENCY_BUCKETS_SECONDS)
            self._rows[step] = row
        return row

    def missed(self, step: int) -> float:
        """Share of the received frames that do not come back within the deadline."""
        return 1.0 - self.on_time(step)[-1]

    def _share(self, rho: float, bound_seconds: float) -> float:
        wait = min(bound_seconds, self.deadline_seconds) - BASE_SECONDS - self.service_seconds
        if rho <= 0 or wait < 0:
            return 1.0 if wait >= 0 else 0.0
        if self.arrivals is Arrivals.POISSON:
            return self._poisson(rho, wait / self.service_seconds)
        if rho > 1:
            return min(1.0, wait * self.session_frame_rate) / rho
        return 1.0 - math.exp(-self._exponent(rho, wait / self.service_seconds))

    def _poisson(self, rho: float, services: float) -> float:
        """Geometric queue, cut where the deadline refuses: (1 - rho^b) / (1 - rho^(K + 1)), at any rho."""
        longest = (self.deadline_seconds - BASE_SECONDS - self.service_seconds) / self.service_seconds
        if abs(rho - 1) < 1e-9:
            return services / (longest + 1)
        return float((1 - rho**services) / (1 - rho ** (longest + 1)))

    def _exponent(self, rho: float, services: float) -> float:
        """Of the tail, for waits of so many services."""
        sources = max(1.0, rho / (self.session_frame_rate * self.service_seconds))
        return 2 * services * (services / sources + 1 - rho) + 1e-9
