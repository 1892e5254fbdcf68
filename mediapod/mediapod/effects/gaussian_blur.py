"""GaussianBlur: each plane convolved with a Gaussian; chroma planes, half as large, with half the width."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mediapod.effects.effect import WHOLE_NUMBER, Effect, Parameters, PlaneBatch
from mediapod.effects.gaussian_kernel import GaussianKernel, sigma_for_radius
from mediapod.frames.i420 import I420Frame


class GaussianBlurParameters(Parameters):
    """Softens the picture with a Gaussian filter."""

    radius: Annotated[int, Field(ge=1, le=99), WHOLE_NUMBER] = Field(
        default=7, description="Half size of the filter in luma pixels: it covers 2 x radius + 1 pixels each way."
    )
    sigma: Annotated[float, Field(gt=0, le=100)] | None = Field(
        default=None,
        description="Standard deviation in luma pixels. Left out: 0.3 x (radius - 1) + 0.8.",
    )


class GaussianBlur(Effect[GaussianBlurParameters]):
    """Separable Gaussian with the edge sample repeated outside the picture."""

    name = "GaussianBlur"
    Parameters = GaussianBlurParameters

    def __init__(self, parameters: GaussianBlurParameters) -> None:
        super().__init__(parameters)
        radius = parameters.radius
        sigma = parameters.sigma if parameters.sigma is not None else sigma_for_radius(radius)
        self._luma = GaussianKernel(radius, sigma)
        self._chroma = GaussianKernel((radius + 1) // 2, sigma / 2)

    def cpu(self, frame: I420Frame) -> I420Frame:
        return I420Frame(y=self._luma.cpu(frame.y), u=self._chroma.cpu(frame.u), v=self._chroma.cpu(frame.v))

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        return PlaneBatch(self._luma.torch(batch.y), self._chroma.torch(batch.u), self._chroma.torch(batch.v))
