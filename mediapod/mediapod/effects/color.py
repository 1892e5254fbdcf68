"""Colours of parameters in the samples of a picture."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field

NEUTRAL_CHROMA = 128
LUMA_BLACK, LUMA_WHITE = 16, 235

HexColor = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$", max_length=7)]


class YuvColor(NamedTuple):
    """One colour as 8-bit BT.601 limited range samples."""

    y: int
    u: int
    v: int


def yuv_from_hex(color: HexColor) -> YuvColor:
    """Convert "#rrggbb", full range RGB, by ITU-R BT.601-7 (Y = 16 + 219 Y', Cb = 128 + 224 (B' - Y') / 1.772)."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return YuvColor(
        y=round(LUMA_BLACK + 219 * luma),
        u=round(NEUTRAL_CHROMA + 224 * (blue - luma) / 1.772),
        v=round(NEUTRAL_CHROMA + 224 * (red - luma) / 1.402),
    )
