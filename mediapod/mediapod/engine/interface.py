"""What every engine offers to the media path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mediapod.frames.i420 import I420Frame

Clock = Callable[[], float]


class DeadlineExceeded(Exception):  # noqa: N818  names what happened to the frame; late is an outcome, not a fault
    """The frame cannot be finished by its deadline (or the engine stops); it was not worked on."""


class EffectError(Exception):
    """An effect failed on this frame. The engine goes on with the next one; `__cause__` is the effect's exception."""

    def __init__(self, stage: str, effect: str, reason: str) -> None:
        super().__init__(f"stage {stage!r}: effect {effect} failed: {reason}")
        self.stage = stage
        self.effect = effect
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Processed:
    """One finished picture; device: where it was worked on, "cpu", "cuda" or "cuda-simulated"."""

    frame: I420Frame
    device: str
    effect_seconds: float
    queue_seconds: float


class Engine(Protocol):
    """Runs the stages of one pipeline on the frames of all sessions. All methods are called on the event loop."""

    device: str

    async def start(self) -> None:
        """Take threads and device memory and warm up; frames are accepted afterwards."""

    async def stop(self) -> None:
        """Finish or refuse what waits, release everything. Safe to call twice."""

    async def process(self, frame: I420Frame, deadline: float) -> Processed:
        """Return the processed picture.

        deadline: time.monotonic() seconds. Raises DeadlineExceeded when the frame would be late, at once when that
        can be foreseen, and EffectError when an effect fails on it.
        """

    def busy_seconds(self) -> Mapping[str, float]:
        """Return device -> seconds that it has worked since start; never decreases."""
