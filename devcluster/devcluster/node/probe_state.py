"""When a probe is due and what its results mean. No I/O and no clock: time is an argument, in seconds."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from devcluster.node.json_types import Json


class ProbeKind(StrEnum):
    """The three probes of a container."""

    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


@dataclass(frozen=True)
class ProbeTiming:
    """The numbers of a probe with the API's defaults."""

    initial_delay_seconds: float = 0
    period_seconds: float = 10
    timeout_seconds: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def of(cls, probe: Json) -> Self:
        """From a container's probe object; 0 counts as unset."""
        return cls(
            initial_delay_seconds=probe.get("initialDelaySeconds") or 0,
            period_seconds=probe.get("periodSeconds") or 10,
            timeout_seconds=probe.get("timeoutSeconds") or 1,
            success_threshold=probe.get("successThreshold") or 1,
            failure_threshold=probe.get("failureThreshold") or 3,
        )


@dataclass
class ProbeState:
    """Counts results of one probe for one run of a container.

    ``passing`` is the verdict; at first None for startup, True for liveness, False for readiness.
    """

    kind: ProbeKind
    timing: ProbeTiming
    passing: bool | None = None
    _last: bool | None = None
    _run_length: int = 0

    def __post_init__(self) -> None:
        self.passing = {ProbeKind.LIVENESS: True, ProbeKind.READINESS: False, ProbeKind.STARTUP: None}[self.kind]

    def due(self, running_seconds: float, *, started: bool) -> bool:
        """Whether the tick at ``running_seconds`` after the container's start probes.

        The startup probe ends with success; the others wait for it.
        """
        if running_seconds < self.timing.initial_delay_seconds:
            return False
        return started is not (self.kind is ProbeKind.STARTUP)

    def observe(self, succeeded: bool) -> bool:
        """Counts one result. Returns True when the verdict changed."""
        self._run_length = self._run_length + 1 if succeeded == self._last else 1
        self._last = succeeded
        threshold = self.timing.success_threshold if succeeded else self.timing.failure_threshold
        if self._run_length < threshold or self.passing == succeeded:
            return False
        self.passing = succeeded
        return True


def next_tick(running_seconds: float, timing: ProbeTiming) -> float:
    """Time from the container's start to the first tick after ``running_seconds``, not before the initial delay.

    Ticks are a period apart. The kubelet's come at a random phase after the start; here it is fixed: one second, or
    half a period if that is less.
    """
    period = timing.period_seconds
    phase = min(1.0, period / 2)
    earliest = max(running_seconds + 1e-6, timing.initial_delay_seconds)
    return phase + max(0, math.ceil((earliest - phase) / period)) * period
