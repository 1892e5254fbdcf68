"""How busy the pod is: the share of the last seconds in which its device worked, and its CPUs."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

WINDOW_SECONDS = 3.0
SAMPLE_SECONDS = 0.5
SHORTEST_SECONDS = 0.2  # shares of less than this say nothing
ON_CPU = "cpu"  # its busy seconds are of all threads together, no share of one device; the CPUs are looked at instead
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")

BusySeconds = Callable[[], Mapping[str, float]]


class Occupancy:
    """Samples of busy seconds; bounded. cpus: how many this process may use."""

    def __init__(
        self,
        busy_seconds: BusySeconds,
        cpus: float,
        cpu_seconds: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._busy_seconds, self._cpus, self._cpu_seconds, self._clock = busy_seconds, cpus, cpu_seconds, clock
        self._samples: deque[tuple[float, dict[str, float]]] = deque(maxlen=1 + round(WINDOW_SECONDS / SAMPLE_SECONDS))

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Note how it stands."""
        self._samples.append(self._now())

    def busy_share(self) -> float:
        """0..1 and above: of the busiest device, or of the CPUs if they are busier; 0 before there is a sample."""
        if not self._samples:
            return 0.0
        (began, before), (now, after) = self._samples[0], self._now()
        seconds = now - began
        if seconds < SHORTEST_SECONDS:
            return 0.0
        return max(max(0.0, value - before.get(name, value)) / seconds for name, value in after.items())

    def _now(self) -> tuple[float, dict[str, float]]:
        devices = {name: seconds for name, seconds in self._busy_seconds().items() if name != ON_CPU}
        return self._clock(), {**devices, ON_CPU: self._cpu_seconds() / self._cpus}


def usable_cpus(limit: Path = CPU_LIMIT) -> float:
    """CPUs that this process may use: those it may run on, and no more than the container's limit."""
    allowed = float(len(os.sched_getaffinity(0)))
    try:
        quota, _, period = limit.read_text().partition(" ")
        return min(allowed, float(quota) / float(period))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no limit
        return allowed
