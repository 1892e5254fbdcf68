"""ConvolutionBench: a load of a chosen weight, for trying capacity and scaling without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import cv2
import numpy as np
from pydantic import Field

from mediapod.effects.effect import WHOLE_NUMBER, Effect, Parameters, PlaneBatch
from mediapod.frames.i420 import I420Frame

if TYPE_CHECKING:
    from torch import Tensor

# Binomial 3x3, the smallest Gaussian; written as one row because it is separable.
_ROW = np.array([0.25, 0.5, 0.25], dtype=np.float32)
_EPSILON = 1e-3


class ConvolutionBenchParameters(Parameters):
    """A made-up load: the same convolution and normalisation again and again."""

    iterations: Annotated[int, Field(ge=1, le=50), WHOLE_NUMBER] = Field(
        default=10, description="How often the luma is convolved and normalised; the time grows with it."
    )


class ConvolutionBench(Effect[ConvolutionBenchParameters]):
    """Each iteration: 3x3 binomial filter, then the mean and standard deviation that the luma had at first."""

    name = "ConvolutionBench"
    Parameters = ConvolutionBenchParameters

    def cpu(self, frame: I420Frame) -> I420Frame:
        y = np.asarray(frame.y, dtype=np.float32)
        mean, deviation = _moments(y)
        for _ in range(self.parameters.iterations):
            smooth = cv2.sepFilter2D(y, cv2.CV_32F, _ROW, _ROW, borderType=cv2.BORDER_REPLICATE)
            smooth_mean, smooth_deviation = _moments(smooth)
            gain = deviation / (smooth_deviation + _EPSILON)
            y = np.asarray(gain * smooth + (mean - gain * smooth_mean), dtype=np.float32)
        return I420Frame(y=np.asarray(np.clip(np.rint(y), 0, 255), dtype=np.uint8), u=frame.u, v=frame.v)

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        # In single precision: ten normalisations in a row would make half precision's rounding visible.
        y = batch.y.float()
        mean, deviation = _tensor_moments(y)
        for _ in range(self.parameters.iterations):
            smooth = _filter(y)
            smooth_mean, smooth_deviation = _tensor_moments(smooth)
            gain = deviation / (smooth_deviation + _EPSILON)
            y = gain * smooth + (mean - gain * smooth_mean)
        return PlaneBatch(y.clamp(0, 255).to(batch.y.dtype), batch.u, batch.v)


def _moments(plane: Any) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(plane)
    return float(mean[0, 0]), float(deviation[0, 0])


def _tensor_moments(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each picture, (B, 1, 1, 1)."""
    mean = planes.mean(dim=(-1, -2), keepdim=True)
    deviation = planes.var(dim=(-1, -2), keepdim=True, correction=0).sqrt()
    return mean, deviation


def _filter(planes: Tensor) -> Tensor:
    """Filter with the 3x3 binomial as weighted neighbours: no weights to carry to the device."""
    from torch.nn import functional

    padded = functional.pad(planes, (1, 1, 1, 1), mode="replicate")
    rows = (padded[..., :-2] + padded[..., 2:]) * 0.25 + padded[..., 1:-1] * 0.5
    return (rows[..., :-2, :] + rows[..., 2:, :]) * 0.25 + rows[..., 1:-1, :] * 0.5
