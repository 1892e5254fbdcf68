"""Sharpen: unsharp mask on the luma, where the eye sees sharpness."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from mediapod.effects.effect import WHOLE_NUMBER, Effect, Parameters, PlaneBatch
from mediapod.effects.gaussian_kernel import GaussianKernel, sigma_for_radius
from mediapod.frames.i420 import I420Frame


class SharpenParameters(Parameters):
    """Strengthens fine detail."""

    amount: Annotated[float, Field(ge=0, le=4)] = Field(
        default=1.0, description="How much of the fine detail is added; 0 changes nothing."
    )
    radius: Annotated[int, Field(ge=1, le=20), WHOLE_NUMBER] = Field(
        default=2, description="Size in luma pixels up to which detail counts as fine."
    )


class Sharpen(Effect[SharpenParameters]):
    """Y + amount x (Y - Gaussian(Y)), limited to 0..255; chroma as it came."""

    name = "Sharpen"
    Parameters = SharpenParameters

    def __init__(self, parameters: SharpenParameters) -> None:
        super().__init__(parameters)
        self._kernel = GaussianKernel(parameters.radius, sigma_for_radius(parameters.radius))

    @property
    def is_identity(self) -> bool:
        return self.parameters.amount == 0

    def cpu(self, frame: I420Frame) -> I420Frame:
        amount = self.parameters.amount
        coarse = self._kernel.cpu_unrounded(frame.y)
        sharp = cv2.addWeighted(frame.y, 1 + amount, coarse, -amount, 0, dtype=cv2.CV_8U)
        return I420Frame(y=np.asarray(sharp, dtype=np.uint8), u=frame.u, v=frame.v)

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        sharp = batch.y + self.parameters.amount * (batch.y - self._kernel.torch(batch.y))
        return PlaneBatch(sharp.clamp(0, 255), batch.u, batch.v)
