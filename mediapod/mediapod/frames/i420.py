"""A picture in planar YUV 4:2:0, the only form in which pictures travel through the mediapod."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class I420Frame:
    """One picture in planar YUV 4:2:0, 8 bit.

    y: (height, width) uint8; u, v: ((height+1)//2, (width+1)//2) uint8;
    C-contiguous or row-strided, never aliased after hand-over. motion: see frames.motion; None: nobody needs it, or it
    is not known.
    """

    y: NDArray[np.uint8]
    u: NDArray[np.uint8]
    v: NDArray[np.uint8]
    motion: NDArray[np.uint8] | None = None

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Height of the picture in pixels."""
        return int(self.y.shape[0])
