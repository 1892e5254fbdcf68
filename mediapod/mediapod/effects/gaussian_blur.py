"""GaussianBlur: each plane convolved with a Gaussian; chroma planes, half as large, with half the width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
from pydantic import Field

from mediapod.effects.effect import WHOLE_NUMBER, Effect, Parameters, PlaneBatch
from mediapod.frames.i420 import I420Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


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
        # The default is OpenCV's rule for a filter of a given size (getGaussianKernel).
        sigma = parameters.sigma if parameters.sigma is not None else 0.3 * (radius - 1) + 0.8
        self._luma = _Kernel(radius, sigma)
        self._chroma = _Kernel((radius + 1) // 2, sigma / 2)

    def cpu(self, frame: I420Frame) -> I420Frame:
        return I420Frame(y=self._luma.cpu(frame.y), u=self._chroma.cpu(frame.u), v=self._chroma.cpu(frame.v))

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        return PlaneBatch(self._luma.torch(batch.y), self._chroma.torch(batch.u), self._chroma.torch(batch.v))


class _Kernel:
    """One normalised Gaussian of 2 x radius + 1 weights, w[i] ~ exp(-(i - radius)^2 / (2 sigma^2))."""

    def __init__(self, radius: int, sigma: float) -> None:
        self._radius = radius
        self._weights = gaussian_weights(radius, sigma)
        self._row = self._weights.astype(np.float32)
        self._tensors: dict[tuple[str, str], Tensor] = {}

    def cpu(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Not cv2.GaussianBlur: its 8-bit form rounds the weights to 1/256, which shows on stripes (14 levels off at
        # radius 99), and it is 1.3 (radius 7) to 3.7 (radius 99) times slower than the general filter.
        blurred = cv2.sepFilter2D(plane, -1, self._row, self._row, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(blurred, dtype=np.uint8)

    def torch(self, planes: Tensor) -> Tensor:
        from torch.nn import functional

        weights, radius = self._on(planes), self._radius
        wide = functional.pad(planes, (radius, radius, 0, 0), mode="replicate")
        rows = functional.conv2d(wide, weights.view(1, 1, 1, -1))
        tall = functional.pad(rows, (0, 0, radius, radius), mode="replicate")
        return functional.conv2d(tall, weights.view(1, 1, -1, 1))

    def _on(self, planes: Tensor) -> Tensor:
        import torch

        key = (str(planes.device), str(planes.dtype))
        if key not in self._tensors:
            self._tensors[key] = torch.tensor(self._weights, dtype=planes.dtype, device=planes.device)
        return self._tensors[key]


def gaussian_weights(radius: int, sigma: float) -> NDArray[np.float64]:
    """Return the 2 x radius + 1 weights of a sampled Gaussian, sum 1."""
    offsets = np.arange(-radius, radius + 1, dtype=np.float64)
    # Scaled by the largest exponent, so that a tiny sigma gives an impulse instead of 0/0.
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(), dtype=np.float64)
