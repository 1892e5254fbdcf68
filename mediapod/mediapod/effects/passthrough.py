"""Passthrough: the picture as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediapod.effects.effect import Effect, Parameters, PlaneBatch

if TYPE_CHECKING:
    from mediapod.frames.i420 import I420Frame


class PassthroughParameters(Parameters):
    """Returns the picture unchanged."""


class Passthrough(Effect[PassthroughParameters]):
    """Hands the very frame on, without a copy."""

    name = "Passthrough"
    Parameters = PassthroughParameters

    @property
    def is_identity(self) -> bool:
        return True

    def cpu(self, frame: I420Frame) -> I420Frame:
        return frame

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        return batch
