"""Draws the numbered pictures: block code, digits, reference patches and something that moves."""

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from devcluster.load.layout import (
    BLACK,
    CHECKER_CELL_PIXELS,
    DATA_CELLS,
    GROUND,
    PATCH_COLOURS,
    SYNC_CELLS,
    WHITE,
    Box,
    Layout,
)
from devcluster.load.marks import code_bits

Picture = NDArray[np.uint8]


def _fill(picture: Picture, box: Box, colour: tuple[int, int, int]) -> None:
    picture[box.top : box.bottom, box.left : box.right] = colour


def _draw_code(picture: Picture, layout: Layout, number: int) -> None:
    bits = {**SYNC_CELLS, **dict(zip(DATA_CELLS, code_bits(number), strict=True))}
    for cell, bit in bits.items():
        _fill(picture, layout.cell(*cell), WHITE if bit else BLACK)


def _draw_digits(picture: Picture, layout: Layout, number: int) -> None:
    box = layout.digits
    scale = layout.unit / 20 * 1.7
    thickness = max(2, round(layout.unit / 6))
    position = (box.left, round((box.top + box.bottom) / 2 + layout.unit))
    cv2.putText(picture, f"{number:05d}", position, cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, thickness, cv2.LINE_AA)


def _draw_checker(picture: Picture, box: Box) -> None:
    rows = np.arange(box.top, box.bottom)[:, None] // CHECKER_CELL_PIXELS
    columns = np.arange(box.left, box.right)[None, :] // CHECKER_CELL_PIXELS
    white = ((rows + columns) % 2).astype(bool)[..., None]
    picture[box.top : box.bottom, box.left : box.right] = np.where(white, WHITE, BLACK)


def _draw_motion(picture: Picture, layout: Layout, number: int) -> None:
    """A ball along the bottom and one along the right edge: content that an encoder cannot skip."""
    u, phase = layout.unit, number / 40
    along = (math.sin(2 * math.pi * phase) + 1) / 2
    bottom = (round(u + along * (layout.width - 2 * u)), round(10.8 * u))
    right = (round(layout.width - u), round(u + (1 - along) * 8 * u))
    cv2.circle(picture, bottom, round(0.8 * u), (230, 190, 60), -1, cv2.LINE_AA)
    cv2.circle(picture, right, round(0.7 * u), (60, 200, 220), -1, cv2.LINE_AA)


def draw(layout: Layout, number: int) -> Picture:
    """RGB picture (height, width, 3) with the given number, 0..65535, as digits and as block code."""
    picture = cast(Picture, np.full((layout.height, layout.width, 3), GROUND, dtype=np.uint8))
    _draw_code(picture, layout, number)
    _draw_digits(picture, layout, number)
    _draw_checker(picture, layout.checker)
    for name, colour in PATCH_COLOURS.items():
        _fill(picture, layout.patch(name), colour)
    _draw_motion(picture, layout, number)
    return picture
