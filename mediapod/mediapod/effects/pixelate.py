"""Pixelate: the picture in blocks of one colour."""

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


class PixelateParameters(Parameters):
    """Hides detail in blocks of one colour."""

    block: Annotated[int, Field(ge=2, le=256, multiple_of=2), WHOLE_NUMBER] = Field(
        default=16, description="Side of a block in luma pixels; even, so that chroma blocks lie on luma blocks."
    )


class Pixelate(Effect[PixelateParameters]):
    """Every block becomes its mean. Blocks cut by the right or lower edge repeat the edge sample to their full size."""

    name = "Pixelate"
    Parameters = PixelateParameters

    def cpu(self, frame: I420Frame) -> I420Frame:
        block = self.parameters.block
        return I420Frame(y=_blocks(frame.y, block), u=_blocks(frame.u, block // 2), v=_blocks(frame.v, block // 2))

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        block = self.parameters.block
        return PlaneBatch(
            _block_tensor(batch.y, block), _block_tensor(batch.u, block // 2), _block_tensor(batch.v, block // 2)
        )


def _blocks(plane: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    height, width = plane.shape
    rows, columns = -(-height // block), -(-width // block)
    below, right = rows * block - height, columns * block - width
    whole = cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE)
    means = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    spread = np.repeat(np.repeat(means.reshape(rows, columns), block, axis=1)[:, :width], block, axis=0)
    return np.asarray(np.ascontiguousarray(spread[:height]), dtype=np.uint8)


def _block_tensor(planes: Tensor, block: int) -> Tensor:
    from torch.nn import functional

    height, width = planes.shape[-2:]
    whole = functional.pad(planes, (0, -width % block, 0, -height % block), mode="replicate")
    means = functional.avg_pool2d(whole, block)
    spread = means.repeat_interleave(block, dim=-1).repeat_interleave(block, dim=-2)
    return spread[..., :height, :width]
