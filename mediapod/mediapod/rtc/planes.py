"""Between libav's pictures and I420 planes, without conversion to RGB and, on the way in, without a copy."""

from __future__ import annotations

import av
import numpy as np
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from mediapod.frames.i420 import I420Frame

PLANAR_420 = frozenset({"yuv420p", "yuvj420p"})
Plane = NDArray[np.uint8]


def from_picture(picture: av.VideoFrame) -> I420Frame:
    """The planes of a decoded picture as views of the decoder's buffer (which lives as long as the views do)."""
    if picture.format.name not in PLANAR_420:
        picture = picture.reformat(format="yuv420p")
    y, u, v = (_plane_view(plane, plane.width, plane.height) for plane in picture.planes)
    return I420Frame(y, u, v)


def into_picture(frame: I420Frame, picture: av.VideoFrame) -> None:
    """Copy the planes into `picture`, which has the same size and format yuv420p."""
    picture.make_writable()
    for plane, source in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
        np.copyto(_plane_view(plane, plane.width, plane.height), source)


def _plane_view(plane: VideoPlane, width: int, height: int) -> Plane:
    rows: Plane = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * height]
    return rows.reshape(height, plane.line_size)[:, :width]
