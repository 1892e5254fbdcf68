"""Between libav's pictures and I420 planes, without conversion to RGB and, on the way in, mostly without a copy."""

from __future__ import annotations

from functools import cache

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from mediapod.frames.color_space import UNSPECIFIED, ColorSpace
from mediapod.frames.i420 import I420Frame

PLANAR_420 = frozenset({"yuv420p", "yuvj420p"})
NOTHING_SAID = ColorSpace(UNSPECIFIED, UNSPECIFIED, UNSPECIFIED, full_range=False)
Plane = NDArray[np.uint8]


def from_picture(picture: av.VideoFrame, full_range: bool = False) -> I420Frame:
    """The planes of a decoded picture as views of the decoder's buffer (which lives as long as the views do).

    In limited range, as every effect has it, and every receiver to whom nothing else is said: a picture of full range
    is brought to it.
    """
    if picture.format.name not in PLANAR_420:
        picture = picture.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG)
    y, u, v = (_plane_view(plane, plane.width, plane.height) for plane in picture.planes)
    if full_range:
        luma, chroma = _to_limited(16, 219 / 255), _to_limited(128 - 128 * 224 / 255, 224 / 255)
        y, u, v = (
            np.asarray(cv2.LUT(plane, table), np.uint8) for plane, table in ((y, luma), (u, chroma), (v, chroma))
        )
    return I420Frame(y, u, v)


@cache
def _to_limited(offset: float, factor: float) -> Plane:
    """ITU-R BT.601-7, 8 bit: luma 0..255 to 16..235, chroma 0..255 to 16..240 around 128."""
    return (offset + factor * np.arange(256)).round().astype(np.uint8)


def color_space_of(picture: av.VideoFrame) -> ColorSpace | None:
    """What the stream itself (H.264's parameter sets) says of its colours; None: nothing."""
    full = picture.format.name.startswith("yuvj") or picture.color_range == ColorRange.JPEG
    space = ColorSpace(int(picture.color_primaries), int(picture.color_trc), int(picture.colorspace), full)
    return None if space == NOTHING_SAID else space


def into_picture(frame: I420Frame, picture: av.VideoFrame) -> None:
    """Copy the planes into `picture`, which has the same size and format yuv420p."""
    picture.make_writable()
    for plane, source in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
        np.copyto(_plane_view(plane, plane.width, plane.height), source)


def _plane_view(plane: VideoPlane, width: int, height: int) -> Plane:
    rows: Plane = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * height]
    return rows.reshape(height, plane.line_size)[:, :width]
