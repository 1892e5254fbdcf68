"""What happens when a device fails on a batch: halve it, then the CPU for the effect that failed. No torch in here.

The same halving finds the one frame on which an effect fails for a reason of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mediapod.engine.breaker import Breaker
from mediapod.engine.interface import Clock, EffectError
from mediapod.engine.stages import Stage, run_on_cpu
from mediapod.frames.i420 import I420Frame

OnFallback = Callable[[str], None]


class DeviceError(Exception):
    """The device failed, not the effect. stage: where it was noticed, None when that cannot be known."""

    def __init__(self, reason: str, stage: Stage | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.stage = stage


class Outcome(NamedTuple):
    """What became of one frame."""

    result: I420Frame | EffectError
    device: str


class Runner(Protocol):
    """Runs stages on a device. Raises DeviceError or EffectError, for the batch as a whole."""

    device: str

    def run(self, stages: Sequence[Stage], frames: Sequence[I420Frame]) -> list[I420Frame]:
        """Return the processed frames, in order."""


class FallbackRunner:
    """Runs batches on a device while it works and on the CPU where it does not. Thread-safe; never raises."""

    def __init__(
        self, stages: Sequence[Stage], runner: Runner, on_fallback: OnFallback, clock: Clock = time.monotonic
    ) -> None:
        self._stages = list(stages)
        self._runner = runner
        self._on_fallback = on_fallback
        self._clock = clock
        self._lock = threading.Lock()
        self._breakers: Mapping[str, Breaker] = {stage.name: Breaker() for stage in stages}

    def run(self, frames: Sequence[I420Frame]) -> list[Outcome]:
        """Return one outcome for each frame, in order."""
        with self._lock:
            now = self._clock()
            allowed = {stage.name for stage in self._stages if self._breakers[stage.name].allow(now)}
        return self._run(frames, allowed)

    def _run(self, frames: Sequence[I420Frame], allowed: set[str]) -> list[Outcome]:
        try:
            results = self._run_segments(frames, allowed)
        except DeviceError as failure:
            if len(frames) > 1:
                return self._run_halves(frames, allowed)
            return self._run(frames, allowed - self._trip(failure, allowed))
        except EffectError as failure:
            if len(frames) > 1:
                return self._run_halves(frames, allowed)
            return [Outcome(failure, self._device_of(allowed))]
        self._note_success(allowed)
        return [Outcome(result, self._device_of(allowed)) for result in results]

    def _run_halves(self, frames: Sequence[I420Frame], allowed: set[str]) -> list[Outcome]:
        middle = len(frames) // 2
        return self._run(frames[:middle], allowed) + self._run(frames[middle:], allowed)

    def _run_segments(self, frames: Sequence[I420Frame], allowed: set[str]) -> list[I420Frame]:
        current = list(frames)
        for on_device, stages in _segments(self._stages, allowed):
            if on_device:
                current = self._runner.run(stages, current)
            else:
                current = [run_on_cpu(stages, frame) for frame in current]
        return current

    def _trip(self, failure: DeviceError, allowed: set[str]) -> set[str]:
        """Open the breaker of the stage that failed, of all when it is unknown; return the names to avoid now."""
        failed = {failure.stage.name} & allowed if failure.stage is not None else set()
        names = failed or set(allowed)
        with self._lock:
            for name in names:
                self._breakers[name].fail(self._clock())
        self._on_fallback(failure.reason)
        return names

    def _note_success(self, allowed: set[str]) -> None:
        with self._lock:
            for name in allowed:
                self._breakers[name].succeed()

    def _device_of(self, allowed: set[str]) -> str:
        return self._runner.device if len(allowed) == len(self._stages) else "cpu"


def _segments(stages: Sequence[Stage], allowed: set[str]) -> list[tuple[bool, list[Stage]]]:
    """Return runs of neighbouring stages that share a place: (on the device?, stages)."""
    segments: list[tuple[bool, list[Stage]]] = []
    for stage in stages:
        on_device = stage.name in allowed
        if segments and segments[-1][0] == on_device:
            segments[-1][1].append(stage)
        else:
            segments.append((on_device, [stage]))
    return segments
