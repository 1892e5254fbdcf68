"""ColorCorrection: tone of the luma, strength and hue of the chroma, without a way through RGB."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
from pydantic import Field

from mediapod.effects.color import LUMA_BLACK, LUMA_WHITE, NEUTRAL_CHROMA
from mediapod.effects.effect import Effect, Parameters, PlaneBatch
from mediapod.frames.i420 import I420Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_SPAN = LUMA_WHITE - LUMA_BLACK


class ColorCorrectionParameters(Parameters):
    """Changes tone and colour. The defaults change nothing."""

    brightness: Annotated[float, Field(ge=-1, le=1)] = Field(
        default=0.0, description="Added to the luma; 1 is the distance from black to white. Applied last."
    )
    contrast: Annotated[float, Field(ge=0, le=4)] = Field(
        default=1.0, description="Factor on the luma's distance from mid grey. Applied after gamma."
    )
    saturation: Annotated[float, Field(ge=0, le=4)] = Field(
        default=1.0, description="Factor on the colour; 0 gives greys, 1 leaves it."
    )
    hue: Annotated[float, Field(ge=-180, le=180)] = Field(
        default=0.0, description="Rotation of the colour in degrees, in the CbCr plane from Cb towards Cr."
    )
    gamma: Annotated[float, Field(ge=0.1, le=10)] = Field(
        default=1.0, description="Luma is raised to 1/gamma: above 1 lightens the dark parts. Applied first."
    )


class ColorCorrection(Effect[ColorCorrectionParameters]):
    """With l = (Y - 16) / 219 limited to 0..1: l' = contrast (l^(1/gamma) - 1/2) + 1/2 + brightness, limited again.

    Chroma (Cb - 128, Cr - 128) is rotated by `hue` and scaled by `saturation`. A setting that is neutral leaves its
    planes untouched, samples outside the limited range included.
    """

    name = "ColorCorrection"
    Parameters = ColorCorrectionParameters

    def __init__(self, parameters: ColorCorrectionParameters) -> None:
        super().__init__(parameters)
        self._keeps_luma = (parameters.brightness, parameters.contrast, parameters.gamma) == (0, 1, 1)
        self._keeps_chroma = (parameters.saturation, parameters.hue) == (1, 0)
        angle = math.radians(parameters.hue)
        self._cos = parameters.saturation * math.cos(angle)
        self._sin = parameters.saturation * math.sin(angle)
        self._luma_table = self._build_luma_table()
        self._chroma_table = _saturation_table(parameters.saturation)
        self._rotation = self._build_rotation()

    @property
    def is_identity(self) -> bool:
        return self._keeps_luma and self._keeps_chroma

    def cpu(self, frame: I420Frame) -> I420Frame:
        y = frame.y if self._keeps_luma else _look_up(frame.y, self._luma_table)
        u, v = (frame.u, frame.v) if self._keeps_chroma else self._chroma(frame.u, frame.v)
        return I420Frame(y=y, u=u, v=v)

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        y = batch.y if self._keeps_luma else self._luma_tensor(batch.y)
        if self._keeps_chroma:
            return PlaneBatch(y, batch.u, batch.v)
        u, v = batch.u - NEUTRAL_CHROMA, batch.v - NEUTRAL_CHROMA
        turned_u = (self._cos * u - self._sin * v + NEUTRAL_CHROMA).clamp(0, 255)
        turned_v = (self._sin * u + self._cos * v + NEUTRAL_CHROMA).clamp(0, 255)
        return PlaneBatch(y, turned_u, turned_v)

    def _luma_tensor(self, y: Tensor) -> Tensor:
        p = self.parameters
        # In single precision: near black a steep power turns half precision's steps into visible ones.
        light = ((y.float() - LUMA_BLACK) / _SPAN).clamp(0, 1).pow(1 / p.gamma)
        toned = p.contrast * (light - 0.5) + 0.5 + p.brightness
        return (LUMA_BLACK + _SPAN * toned.clamp(0, 1)).to(y.dtype)

    def _build_luma_table(self) -> NDArray[np.uint8]:
        p = self.parameters
        light: NDArray[np.float64] = np.clip((np.arange(256) - LUMA_BLACK) / _SPAN, 0, 1) ** (1 / p.gamma)
        toned = np.clip(p.contrast * (light - 0.5) + 0.5 + p.brightness, 0, 1)
        return np.asarray(np.rint(LUMA_BLACK + _SPAN * toned), dtype=np.uint8)

    def _build_rotation(self) -> NDArray[np.float64]:
        keep_grey = NEUTRAL_CHROMA * (1 - self._cos + self._sin), NEUTRAL_CHROMA * (1 - self._cos - self._sin)
        return np.array([[self._cos, -self._sin, keep_grey[0]], [self._sin, self._cos, keep_grey[1]]])

    def _chroma(self, u: NDArray[np.uint8], v: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if self.parameters.hue == 0:
            return _look_up(u, self._chroma_table), _look_up(v, self._chroma_table)
        turned = cv2.split(cv2.transform(cv2.merge([u, v]), self._rotation))
        return np.asarray(turned[0], dtype=np.uint8), np.asarray(turned[1], dtype=np.uint8)


def _saturation_table(saturation: float) -> NDArray[np.uint8]:
    scaled = NEUTRAL_CHROMA + saturation * (np.arange(256) - NEUTRAL_CHROMA)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)


def _look_up(plane: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.LUT(plane, table), dtype=np.uint8)
