"""Translate: the picture moved by whole luma pixels, the uncovered part filled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
from pydantic import Field

from mediapod.effects.color import HexColor, yuv_from_hex
from mediapod.effects.effect import WHOLE_NUMBER, Effect, Parameters, PlaneBatch
from mediapod.frames.i420 import I420Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_Pixels = Annotated[int, Field(ge=-8192, le=8192), WHOLE_NUMBER]


class TranslateParameters(Parameters):
    """Moves the picture; what it uncovers is filled with one colour."""

    x: _Pixels = Field(default=0, description="Pixels to the right; negative: to the left.")
    y: _Pixels = Field(default=0, description="Pixels down; negative: up.")
    fill: HexColor = Field(default="#000000", description="Colour of the uncovered part, #rrggbb.")


class Translate(Effect[TranslateParameters]):
    """Luma moves exactly. Chroma has half the resolution, so an odd distance is its mean of two neighbours."""

    name = "Translate"
    Parameters = TranslateParameters

    def __init__(self, parameters: TranslateParameters) -> None:
        super().__init__(parameters)
        self._x, self._y = parameters.x, parameters.y
        self._fill = yuv_from_hex(parameters.fill)

    @property
    def is_identity(self) -> bool:
        return self._x == 0 and self._y == 0

    def cpu(self, frame: I420Frame) -> I420Frame:
        return I420Frame(
            y=_move(frame.y, self._x, self._y, self._fill.y),
            u=self._move_chroma(frame.u, self._fill.u),
            v=self._move_chroma(frame.v, self._fill.v),
        )

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        return PlaneBatch(
            _move_tensor(batch.y, self._x, self._y, self._fill.y),
            self._move_chroma_tensor(batch.u, self._fill.u),
            self._move_chroma_tensor(batch.v, self._fill.v),
        )

    def _move_chroma(self, plane: NDArray[np.uint8], fill: int) -> NDArray[np.uint8]:
        if self._x % 2 == 0 and self._y % 2 == 0:
            return _move(plane, self._x // 2, self._y // 2, fill)
        matrix = np.array([[1, 0, self._x / 2], [0, 1, self._y / 2]], dtype=np.float64)
        moved = cv2.warpAffine(
            plane,
            matrix,
            (plane.shape[1], plane.shape[0]),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(fill,),
        )
        return np.asarray(moved, dtype=np.uint8)

    def _move_chroma_tensor(self, planes: Tensor, fill: int) -> Tensor:
        across = [self._x // 2, -(-self._x // 2)] if self._x % 2 else [self._x // 2]
        down = [self._y // 2, -(-self._y // 2)] if self._y % 2 else [self._y // 2]
        moved = [_move_tensor(planes, x, y, fill) for x in across for y in down]
        total = moved[0]
        for other in moved[1:]:
            total = total + other
        return total / len(moved)


def _move(plane: NDArray[np.uint8], x: int, y: int, fill: int) -> NDArray[np.uint8]:
    moved = np.full(plane.shape, fill, dtype=np.uint8)
    (to_y, from_y), (to_x, from_x) = _overlap(plane.shape[0], y), _overlap(plane.shape[1], x)
    moved[to_y, to_x] = plane[from_y, from_x]
    return moved


def _move_tensor(planes: Tensor, x: int, y: int, fill: int) -> Tensor:
    import torch

    moved = torch.full_like(planes, fill)
    (to_y, from_y), (to_x, from_x) = _overlap(planes.shape[-2], y), _overlap(planes.shape[-1], x)
    moved[..., to_y, to_x] = planes[..., from_y, from_x]
    return moved


def _overlap(length: int, distance: int) -> tuple[slice, slice]:
    """Return where to write and where to read along an axis of `length` samples moved by `distance`."""
    kept = max(0, length - abs(distance))
    to, source = (distance, 0) if distance >= 0 else (0, -distance)
    return (slice(to, to + kept), slice(source, source + kept)) if kept else (slice(0, 0), slice(0, 0))
