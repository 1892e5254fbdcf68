"""Grayscale: the luma alone."""

from __future__ import annotations

import numpy as np

from mediapod.effects.color import NEUTRAL_CHROMA
from mediapod.effects.effect import Effect, Parameters, PlaneBatch
from mediapod.frames.i420 import I420Frame


class GrayscaleParameters(Parameters):
    """Takes the colour out of the picture."""


class Grayscale(Effect[GrayscaleParameters]):
    """Luma as it came, both chroma planes neutral."""

    name = "Grayscale"
    Parameters = GrayscaleParameters

    def cpu(self, frame: I420Frame) -> I420Frame:
        return I420Frame(y=frame.y, u=np.full_like(frame.u, NEUTRAL_CHROMA), v=np.full_like(frame.v, NEUTRAL_CHROMA))

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        import torch

        return PlaneBatch(batch.y, torch.full_like(batch.u, NEUTRAL_CHROMA), torch.full_like(batch.v, NEUTRAL_CHROMA))
