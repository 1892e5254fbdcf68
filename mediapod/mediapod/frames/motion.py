"""Where a picture moves: a small map that goes with each picture of a stream, for effects that treat what moves
differently. Effects themselves keep nothing from frame to frame, so one effect serves all sessions.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CELL = 16  # luma pixels on each side: the noise of a camera is gone in the mean of 256
MOST = 64  # more than this is as good as this; bounds how long what has stopped stays marked
HALF_LIFE_SECONDS = 1.0
CLOCK_HERTZ = 90_000


def motion_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the map of a picture."""
    return -(-height // CELL), -(-width // CELL)


class MotionMap:
    """The motion of one stream. Not thread-safe.

    A cell holds how many levels its mean luma has lately changed from one picture to the next, at most 64, halved each
    second. Nothing is known of a first picture, or of the first of a new size: everything counts as moving.
    """

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None
        self._motion: NDArray[np.float32] | None = None
        self._timestamp = 0

    def add(self, luma: NDArray[np.uint8], timestamp: int) -> NDArray[np.uint8]:
        """Take the next picture; returns its map, uint8. timestamp: 90 kHz, unwrapped."""
        rows, columns = motion_shape(*luma.shape)
        cells = np.asarray(cv2.resize(luma, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
        before, motion = self._before, self._motion
        if before is None or motion is None or before.shape != cells.shape:
            motion = np.full(cells.shape, MOST, np.float32)
        else:
            seconds = max(0, timestamp - self._timestamp) / CLOCK_HERTZ
            fade = np.float32(0.5 ** (seconds / HALF_LIFE_SECONDS))
            motion = np.maximum(np.minimum(np.abs(cells - before), MOST), motion * fade)
        self._before, self._motion, self._timestamp = cells, motion, timestamp
        return motion.round().astype(np.uint8)
