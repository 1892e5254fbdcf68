"""What the data path must know about encoded pictures: which codec, and whether one is a keyframe."""

from __future__ import annotations

from enum import StrEnum

H264_IDR = 5
H264_START_CODE = b"\x00\x00\x01"


class Codec(StrEnum):
    """Video codecs of the media path, named as in SDP."""

    H264 = "H264"
    VP8 = "VP8"


def is_keyframe(codec: Codec, data: bytes) -> bool:
    """Whether an encoded picture can be decoded without the ones before it (RFC 6386 section 9.1; H.264 table 7-1)."""
    if codec is Codec.VP8:
        return bool(data) and data[0] & 1 == 0
    position = data.find(H264_START_CODE)
    while position >= 0 and position + 3 < len(data):
        if data[position + 3] & 0x1F == H264_IDR:
            return True
        position = data.find(H264_START_CODE, position + 3)
    return False
