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

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def picture_bytes(width: int, height: int) -> int:
    """Bytes of an I420 picture."""
    return width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)


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
        chroma = (height + 1) // 2, (width + 1) // 2
        luma_bytes, chroma_bytes = width * height, chroma[0] * chroma[1]
        start = slot * self.slot_bytes
        y = self._bytes[start : start + luma_bytes]
        u = self._bytes[start + luma_bytes :][:chroma_bytes]
        v = self._bytes[start + luma_bytes + chroma_bytes :][:chroma_bytes]
        return I420Frame(y.reshape(height, width), u.reshape(chroma), v.reshape(chroma))


def new_memory(size_bytes: int) -> int:
    """A descriptor of new shared memory, its size sealed. Raises OSError."""
    memory = os.memfd_create("mediapod-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size_bytes)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
    return memory


def copy_into(source: I420Frame, target: I420Frame) -> None:
    """Copy all planes; both pictures have the same size."""
    for plane, to in zip((source.y, source.u, source.v), (target.y, target.u, target.v), strict=True):
        np.copyto(to, plane)


def copy_of(frame: I420Frame) -> I420Frame:
    """The picture in memory of its own."""
    return I420Frame(frame.y.copy(), frame.u.copy(), frame.v.copy())
