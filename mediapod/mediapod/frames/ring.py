"""Shared memory for pictures on their way between two processes: a fixed number of slots, each for one I420 picture.

The memory has no name (memfd), so it is gone with the last process that holds it, and its size is sealed, so neither
side can take it from under the other. Pages are taken when they are written to: slots for large pictures cost nothing
while small ones travel.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np

from mediapod.frames.i420 import I420Frame
from mediapod.frames.motion import MOST, motion_shape

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def picture_bytes(width: int, height: int) -> int:
    """Bytes of an I420 picture and its map of motion."""
    rows, columns = motion_shape(height, width)
    return width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2) + rows * columns


class FrameRing:
    """The slots, in this process. Raises ValueError when `memory` is not what was announced."""

    def __init__(self, memory: int, slots: int, slot_bytes: int) -> None:
        if not 0 < slots * slot_bytes <= os.fstat(memory).st_size:
            raise ValueError(f"shared memory has {os.fstat(memory).st_size} bytes, not {slots} x {slot_bytes}")
        if fcntl.fcntl(memory, fcntl.F_GET_SEALS) & SEALS != SEALS:
            raise ValueError("the size of the shared memory is not sealed")
        self.slots, self.slot_bytes = slots, slot_bytes
        self._bytes = np.frombuffer(mmap.mmap(memory, slots * slot_bytes), np.uint8)

    def fits(self, width: int, height: int) -> bool:
        """Whether a picture of this size fits into a slot."""
        return min(width, height) > 0 and picture_bytes(width, height) <= self.slot_bytes

    def picture(self, slot: int, width: int, height: int) -> I420Frame:
        """The picture in a slot: views of the shared memory. Raises IndexError."""
        if not (0 <= slot < self.slots and self.fits(width, height)):
            raise IndexError(f"no slot {slot} for {width}x{height}")
        chroma, start = ((height + 1) // 2, (width + 1) // 2), slot * self.slot_bytes
        planes = []
        for rows, columns in ((height, width), chroma, chroma, motion_shape(height, width)):
            end = start + rows * columns
            planes.append(self._bytes[start:end].reshape(rows, columns))
            start = end
        return I420Frame(*planes)


def new_memory(size_bytes: int) -> int:
    """A descriptor of new shared memory, its size sealed. Raises OSError."""
    memory = os.memfd_create("mediapod-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size_bytes)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
    return memory


def copy_into(source: I420Frame, target: I420Frame) -> None:
    """Copy all planes, and the motion where the target has it; both pictures have the same size."""
    for plane, to in zip((source.y, source.u, source.v), (target.y, target.u, target.v), strict=True):
        np.copyto(to, plane)
    if target.motion is not None:
        np.copyto(target.motion, MOST if source.motion is None else source.motion)


def copy_of(frame: I420Frame) -> I420Frame:
    """The picture in memory of its own, without its motion."""
    return I420Frame(frame.y.copy(), frame.u.copy(), frame.v.copy())
