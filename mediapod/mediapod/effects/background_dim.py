"""BackgroundDim: what stands still gets dark, what moves stays light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import cv2
import numpy as np
from pydantic import Field

from mediapod.effects.color import LUMA_BLACK, NEUTRAL_CHROMA
from mediapod.effects.effect import WHOLE_NUMBER, Effect, Parameters, PlaneBatch
from mediapod.frames.i420 import I420Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


STRIP_ROWS = 48  # floats of a whole picture are fresh pages from the kernel each time, up to ten times the work itself


class BackgroundDimParameters(Parameters):
    """Darkens what has not moved for a few seconds."""

    strength: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.7, description="How much darker and greyer what stands still gets: 0 leaves it, 1 makes it black."
    )
    threshold: Annotated[int, Field(ge=2, le=32), WHOLE_NUMBER] = Field(
        default=6,
        description="By how many levels a cell of 16 x 16 luma pixels must change to begin to count as moving.",
    )
    reach: Annotated[int, Field(ge=0, le=8), WHOLE_NUMBER] = Field(
        default=2, description="How many cells around what moves stay light too: plain surfaces move at their edges."
    )


class BackgroundDim(Effect[BackgroundDimParameters]):
    """Each sample goes towards black by strength x (1 - mask). The mask is 0 where the motion is below the threshold
    and 1 from twice the threshold on, widened by `reach` cells and brought to the size of the picture bilinearly. A
    picture of which no motion is known stays as it is.
    """

    name = "BackgroundDim"
    Parameters = BackgroundDimParameters
    of_requests = False  # a single picture has no motion
    sees_motion: ClassVar[bool] = True

    @property
    def is_identity(self) -> bool:
        return self.parameters.strength == 0

    def cpu(self, frame: I420Frame) -> I420Frame:
        if frame.motion is None:
            return frame
        side = 2 * self.parameters.reach + 1
        near = cv2.dilate(frame.motion, np.ones((side, side), np.uint8))
        threshold, strength = self.parameters.threshold, self.parameters.strength
        mask = np.clip((np.asarray(near, np.float32) - threshold) / threshold, 0, 1)
        kept = (1 - strength * (1 - mask)).astype(np.float32)
        return I420Frame(
            y=_towards(frame.y, LUMA_BLACK, kept),
            u=_towards(frame.u, NEUTRAL_CHROMA, kept),
            v=_towards(frame.v, NEUTRAL_CHROMA, kept),
        )

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        from torch.nn import functional

        if batch.motion is None:
            return batch
        reach, threshold, strength = self.parameters.reach, self.parameters.threshold, self.parameters.strength
        near = functional.max_pool2d(batch.motion, 2 * reach + 1, stride=1, padding=reach)
        kept = 1 - strength * (1 - ((near - threshold) / threshold).clamp(0, 1))
        return PlaneBatch(
            y=_tensor_towards(batch.y, LUMA_BLACK, kept),
            u=_tensor_towards(batch.u, NEUTRAL_CHROMA, kept),
            v=_tensor_towards(batch.v, NEUTRAL_CHROMA, kept),
        )


def _towards(plane: NDArray[np.uint8], rest: int, kept: NDArray[np.float32]) -> NDArray[np.uint8]:
    share = cv2.resize(kept, (plane.shape[1], plane.shape[0]), interpolation=cv2.INTER_LINEAR).reshape(plane.shape)
    moved = np.empty(plane.shape, np.uint8)
    for first in range(0, plane.shape[0], STRIP_ROWS):
        rows = slice(first, first + STRIP_ROWS)
        strip = plane[rows].astype(np.float32) - rest
        strip *= share[rows]
        strip += rest + 0.5
        np.copyto(moved[rows], strip, casting="unsafe")  # cuts off, and nothing leaves 0..255 on the way to `rest`
    return moved


def _tensor_towards(planes: Tensor, rest: int, kept: Tensor) -> Tensor:
    from torch.nn import functional

    share = functional.interpolate(kept, size=planes.shape[-2:], mode="bilinear", align_corners=False)
    return (planes - rest) * share + rest
