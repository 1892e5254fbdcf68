"""What the data path must know about encoded pictures: which codec, and whether one is a keyframe."""

from __future__ import annotations

from enum import StrEnum

H264_IDR = 5
H264_SLICE, H264_STAP_A, H264_FU_A = 1, 24, 28
H264_PARAMETERS = frozenset({6, 7, 8, 9})  # SEI, SPS, PPS, access unit delimiter: before the first slice
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


def starts_frame(codec: Codec, payload: bytes) -> bool:
    """Whether an RTP payload (with its payload header) is the first of a frame.

    VP8: start of partition 0 (RFC 7741 section 4.2). H.264: parameter sets or a slice whose first_mb_in_slice is 0,
    which Exp-Golomb writes as a single 1 bit (RFC 6184 section 5; H.264 section 7.3.3).
    """
    if len(payload) < 3:
        return False
    if codec is Codec.VP8:
        return payload[0] & 0x17 == 0x10
    kind = payload[0] & 0x1F
    if kind in H264_PARAMETERS or kind == H264_STAP_A:
        return True
    if kind == H264_FU_A:
        first, kind = payload[1] & 0x80 and payload[2] & 0x80, payload[1] & 0x1F
    else:
        first = payload[1] & 0x80
    return bool(first) and kind in (H264_SLICE, H264_IDR)
