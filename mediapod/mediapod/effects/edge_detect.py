"""EdgeDetect: how fast the luma changes, as a grey picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
from pydantic import Field

from mediapod.effects.color import LUMA_BLACK, LUMA_WHITE, NEUTRAL_CHROMA
from mediapod.effects.effect import Effect, Parameters, PlaneBatch
from mediapod.frames.i420 import I420Frame

if TYPE_CHECKING:
    from torch import Tensor


class EdgeDetectParameters(Parameters):
    """Shows edges as light lines on black."""

    strength: Annotated[float, Field(ge=0.1, le=8)] = Field(
        default=1.0, description="Factor on the lightness of the lines; with 1 an edge from black to white is white."
    )


# A step of s gives the Sobel filter 4 s (its weights 1 2 1 add up to 4).
_SOBEL_GAIN = 4


class EdgeDetect(Effect[EdgeDetectParameters]):
    """16 + strength x |Sobel(Y)| / 4, limited to 16..235, with both chroma planes neutral."""

    name = "EdgeDetect"
    Parameters = EdgeDetectParameters

    def __init__(self, parameters: EdgeDetectParameters) -> None:
        super().__init__(parameters)
        self._scale = parameters.strength / _SOBEL_GAIN

    def cpu(self, frame: I420Frame) -> I420Frame:
        across = cv2.Sobel(frame.y, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
        down = cv2.Sobel(frame.y, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
        edges = cv2.convertScaleAbs(cv2.magnitude(across, down), alpha=self._scale, beta=LUMA_BLACK)
        return I420Frame(
            y=np.minimum(np.asarray(edges, dtype=np.uint8), np.uint8(LUMA_WHITE)),
            u=np.full_like(frame.u, NEUTRAL_CHROMA),
            v=np.full_like(frame.v, NEUTRAL_CHROMA),
        )

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        import torch
        from torch.nn import functional

        padded = functional.pad(batch.y, (1, 1, 1, 1), mode="replicate")
        across, down = _sobel(padded), _sobel(padded.transpose(-1, -2)).transpose(-1, -2)
        # Scaled before squaring: the square of a full step, 1020^2, is past what half precision holds.
        edges = torch.hypot(across * self._scale, down * self._scale)
        y = (edges + LUMA_BLACK).clamp(LUMA_BLACK, LUMA_WHITE)
        return PlaneBatch(y, torch.full_like(batch.u, NEUTRAL_CHROMA), torch.full_like(batch.v, NEUTRAL_CHROMA))


def _sobel(padded: Tensor) -> Tensor:
    """Return the horizontal Sobel derivative of planes that are padded by one sample on every side."""
    steps = padded[..., 2:] - padded[..., :-2]
    return steps[..., :-2, :] + 2 * steps[..., 1:-1, :] + steps[..., 2:, :]
