"""Single pictures: their size read from the header, decoded to I420 and encoded again."""

from __future__ import annotations

import struct
from enum import StrEnum
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mediapod.frames.i420 import I420Frame

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
# Start-of-frame markers; the numbers between them mean something else (ITU-T T.81 table B.1).
JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
JPEG_QUALITY = 90
PNG_COMPRESSION = 1


class PictureType(StrEnum):
    """Media types of pictures that can be processed."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    I420 = "video/x-raw-i420"


class InvalidPicture(ValueError):  # noqa: N818  same wording as InvalidOffer
    """The picture cannot be read; the message says why."""


def picture_size(kind: PictureType, data: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG or PNG, from its header alone: nothing is decoded. Raises InvalidPicture."""
    size = _png_size(data) if kind is PictureType.PNG else _jpeg_size(data)
    if size is None or min(size) < 1:
        raise InvalidPicture(f"has no header of {kind}")
    return size


def _png_size(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(PNG_SIGNATURE) or len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from("!II", data, 16)
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while data.startswith(JPEG_START) and position + 9 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from("!HH", data, position + 5)
            return width, height
        alone = marker in JPEG_ALONE or marker == 0xFF  # 0xFF: a fill byte
        position += (1 if marker == 0xFF else 2) if alone else 2 + struct.unpack_from("!H", data, position + 2)[0]
    return None


def decode_picture(data: bytes) -> I420Frame:
    """Decode a JPEG or PNG whose size has been checked. Raises InvalidPicture."""
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InvalidPicture(f"cannot be decoded ({error.err})") from error
    if decoded is None:
        raise InvalidPicture("cannot be decoded: its data are damaged or cut off")
    return _to_i420(np.asarray(decoded, np.uint8))


def raw_picture(data: bytes, width: int, height: int) -> I420Frame:
    """Planes Y, U, V one after the other, without padding. Raises InvalidPicture."""
    rows, columns = (height + 1) // 2, (width + 1) // 2
    wanted = width * height + 2 * rows * columns
    if len(data) != wanted:
        raise InvalidPicture(f"has {len(data)} bytes; I420 of {width}x{height} has {wanted}")
    planes = np.frombuffer(data, np.uint8)
    y, u, v = np.split(planes, [width * height, width * height + rows * columns])
    return I420Frame(y.reshape(height, width), u.reshape(rows, columns), v.reshape(rows, columns))


def encode_picture(kind: PictureType, frame: I420Frame) -> bytes:
    """The picture in its type."""
    if kind is PictureType.I420:
        return b"".join(np.ascontiguousarray(plane).tobytes() for plane in (frame.y, frame.u, frame.v))
    options = {
        PictureType.JPEG: (".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]),
        PictureType.PNG: (".png", [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]),
    }
    extension, parameters = options[kind]
    _, encoded = cv2.imencode(extension, _to_bgr(frame), parameters)
    return encoded.tobytes()


@lru_cache(maxsize=4)
def generated_picture(width: int, height: int) -> I420Frame:
    """A picture with structure everywhere, the same each time."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    y = ((across * 7 + down * 13 + (across * down) // 97) % 220 + 16).astype(np.uint8)
    chroma = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    return I420Frame(y, chroma, chroma)


def _to_i420(bgr: NDArray[np.uint8]) -> I420Frame:
    height, width = bgr.shape[:2]
    even = cv2.copyMakeBorder(bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    rows, columns = even.shape[0], even.shape[1]
    planes: Any = cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420)
    flat = planes.reshape(-1)
    luma, quarter = rows * columns, rows * columns // 4
    chroma = (flat[luma + i * quarter : luma + (i + 1) * quarter].reshape(rows // 2, columns // 2) for i in (0, 1))
    return I420Frame(planes[:height, :width], *chroma)


def _to_bgr(frame: I420Frame) -> NDArray[np.uint8]:
    y = cv2.copyMakeBorder(frame.y, 0, frame.height % 2, 0, frame.width % 2, cv2.BORDER_REPLICATE)
    planes = np.concatenate([np.ascontiguousarray(plane).reshape(-1) for plane in (y, frame.u, frame.v)])
    bgr = cv2.cvtColor(planes.reshape(y.shape[0] * 3 // 2, y.shape[1]), cv2.COLOR_YUV2BGR_I420)
    return np.asarray(bgr[: frame.height, : frame.width], np.uint8)
