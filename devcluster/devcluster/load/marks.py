"""Reading a numbered picture: its frame number, its position and its reference patches. Pure functions on arrays.

A picture is a gray array (height, width) or an RGB array (height, width, 3), both uint8. `gray_of_i420` and
`rgb_of_i420` make either from an I420 array (height * 3 / 2, width).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from devcluster.load.layout import CHECK_BITS, DATA_CELLS, NUMBER_BITS, PATCH_COLOURS, SYNC_CELLS, Box, Layout
from devcluster.load.verdict import PatchReading, Verdict, effect_seen

__all__ = [
    "Located",
    "PatchReading",
    "Verdict",
    "code_bits",
    "effect_seen",
    "gray_of_i420",
    "locate",
    "measure_patches",
    "read_number",
    "rgb_of_i420",
]

Picture = NDArray[np.uint8]

_SAMPLE_SHARE = 0.5  # of a cell's side: leaves room for a shift of a quarter of a cell on each side
_MARGIN_SHARE = 0.2  # of white minus black: a cell nearer to the threshold than this is unreadable
_MINIMUM_CONTRAST = 12.0  # gray levels between white and black cells
_SEARCH_UNITS = (-1.0, 3.0)  # how far a moved picture is looked for
_SEARCH_STEP_UNITS = 0.4


@dataclass(frozen=True)
class Located:
    """A number that passed its check sum, how far the picture is moved (pixels), and the code's black and white."""

    number: int
    dx: int
    dy: int
    black: float
    white: float


def _check_sum(number: int) -> int:
    """CRC-8 (polynomial x^8+x^2+x+1) of the 16-bit number; the start value keeps an all-black block invalid."""
    crc = 0xA5
    for byte in (number >> 8 & 0xFF, number & 0xFF):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def code_bits(number: int) -> list[int]:
    """The 24 bits drawn for a number of 0..65535, in the order of `layout.DATA_CELLS`."""
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"number {number}: must be within 0..65535")
    word = number << CHECK_BITS | _check_sum(number)
    return [word >> shift & 1 for shift in range(NUMBER_BITS + CHECK_BITS - 1, -1, -1)]


def gray_of_i420(frame: Picture) -> Picture:
    """The luma plane of an I420 array."""
    return frame[: frame.shape[0] * 2 // 3]


def rgb_of_i420(frame: Picture) -> Picture:
    """RGB of an I420 array (BT.601, limited range)."""
    return cast(Picture, cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420))


def _gray(frame: Picture) -> Picture:
    return frame if frame.ndim == 2 else cast(Picture, cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))


@lru_cache(maxsize=8)
def _sample_boxes(layout: Layout) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Boxes (32, 4) of the middle of each cell, sync cells first, and which sync cells are white."""
    cells = [*SYNC_CELLS, *DATA_CELLS]
    boxes = [layout.cell(*cell).inner(_SAMPLE_SHARE) for cell in cells]
    array = np.array([(box.left, box.top, box.right, box.bottom) for box in boxes], dtype=np.intp)
    return array, np.array(list(SYNC_CELLS.values()), dtype=bool)


def _cell_means(integral: NDArray[np.int32], boxes: NDArray[np.intp], dx: int, dy: int) -> NDArray[np.float64] | None:
    """Mean gray of each box moved by dx, dy; None when one leaves the picture."""
    left, top, right, bottom = (boxes + np.array([dx, dy, dx, dy])).T
    if left.min() < 0 or top.min() < 0 or right.max() >= integral.shape[1] or bottom.max() >= integral.shape[0]:
        return None
    sums = integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left]
    return cast(NDArray[np.float64], sums / ((right - left) * (bottom - top)))


def _decode(means: NDArray[np.float64], white_sync: NDArray[np.bool_]) -> tuple[int, float, float] | None:
    """(number, black, white) of 32 cell means, or None when a cell is unclear or the check sum differs."""
    sync, data = means[: len(white_sync)], means[len(white_sync) :]
    white, black = sync[white_sync].mean(), sync[~white_sync].mean()
    contrast = white - black  # negative in an inverted picture, which reads as well
    if abs(contrast) < _MINIMUM_CONTRAST:
        return None
    level = (means - black) / contrast - 0.5
    if np.abs(level).min() < _MARGIN_SHARE or not np.array_equal(level[: len(sync)] > 0, white_sync):
        return None
    word = int("".join("1" if one else "0" for one in level[-len(data) :] > 0), 2)
    number = word >> CHECK_BITS
    return (number, float(black), float(white)) if _check_sum(number) == word & 0xFF else None


@lru_cache(maxsize=8)
def _search_offsets(layout: Layout) -> tuple[tuple[int, int], ...]:
    """Offsets to try, nearest first, so that an unmoved picture costs one try."""
    first, last = _SEARCH_UNITS
    steps = [round(value * layout.unit) for value in np.arange(first, last + 0.01, _SEARCH_STEP_UNITS)]
    near = sorted({*steps, 0}, key=abs)
    return tuple(sorted(((dx, dy) for dx in near for dy in near), key=lambda offset: abs(offset[0]) + abs(offset[1])))


def _hits(integral: NDArray[np.int32], layout: Layout) -> Iterator[tuple[int, int, tuple[int, float, float]]]:
    boxes, white_sync = _sample_boxes(layout)
    for dx, dy in _search_offsets(layout):
        means = _cell_means(integral, boxes, dx, dy)
        found = None if means is None else _decode(means, white_sync)
        if found is not None:
            yield dx, dy, found


def _middle_of_run(integral: NDArray[np.int32], layout: Layout, dx: int, dy: int, axis: int) -> int:
    """The middle of the run of offsets along one axis that still decode: the true offset, as blur is symmetric."""
    boxes, white_sync = _sample_boxes(layout)

    def readable(step: int) -> bool:
        means = _cell_means(integral, boxes, dx + step * (axis == 0), dy + step * (axis == 1))
        return means is not None and _decode(means, white_sync) is not None

    reach = round(layout.unit)
    ends = [next((step for step in range(1, reach) if not readable(sign * step)), reach) - 1 for sign in (1, -1)]
    return (dx if axis == 0 else dy) + round((ends[0] - ends[1]) / 2)


def locate(frame: Picture, *, exact: bool = True) -> Located | None:
    """Find the block code. None when no offset gives clear cells and a right check sum.

    With `exact` the offset is refined to about a pixel; without, an unmoved picture costs one look (0.1 ms).
    """
    layout = Layout(frame.shape[1], frame.shape[0])
    integral = cast(NDArray[np.int32], cv2.integral(_gray(frame)))
    hit = next(_hits(integral, layout), None)
    if hit is None:
        return None
    dx, dy, (number, black, white) = hit
    if exact:
        dx = _middle_of_run(integral, layout, dx, dy, 0)
        dy = _middle_of_run(integral, layout, dx, dy, 1)
    return Located(number, dx, dy, black, white)


def read_number(frame: Picture) -> int | None:
    """The frame number drawn in a picture; None when it cannot be read for certain (cells unclear, check sum wrong)."""
    found = locate(frame, exact=False)
    return None if found is None else found.number


def _cut(frame: Picture, box: Box) -> Picture:
    height, width = frame.shape[:2]
    return frame[max(box.top, 0) : min(box.bottom, height), max(box.left, 0) : min(box.right, width)]


def measure_patches(frame: Picture) -> PatchReading | None:
    """Contrast and colours of the reference patches of an RGB picture, found through the block code.

    None when the number cannot be read: then nothing says where the patches are.
    """
    found = locate(frame)
    if found is None:
        return None
    layout = Layout(frame.shape[1], frame.shape[0])
    checker = _cut(frame, layout.checker.inner(0.6).moved(found.dx, found.dy))
    patches = {name: layout.patch(name).inner(0.4).moved(found.dx, found.dy) for name in PATCH_COLOURS}
    means = {name: _cut(frame, box).reshape(-1, 3).mean(axis=0) for name, box in patches.items()}
    return PatchReading(
        checker_contrast=float(_gray(checker).std()) / 127.5,
        colours={name: (float(mean[0]), float(mean[1]), float(mean[2])) for name, mean in means.items()},
        black=found.black,
        white=found.white,
        dx=found.dx,
        dy=found.dy,
    )
