"""Which colours the samples of a stream stand for. Browsers say it beside the stream, in an RTP header extension or in
H.264's parameter sets; whoever leaves it out or mistakes it shows pictures with too much contrast or the wrong hues.
"""

from __future__ import annotations

from dataclasses import dataclass

UNSPECIFIED = 2  # in all code points of ITU-T H.273
LIMITED, FULL = 1, 2  # the extension's code for the range; 0: invalid, 3: as the other code points say
EXTENSION_BYTES = 4


@dataclass(frozen=True, slots=True)
class ColorSpace:
    """Code points of ITU-T H.273 (tables 2 to 4), and whether luma goes from 0 to 255 instead of from 16 to 235."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool


def from_extension(data: bytes) -> ColorSpace | None:
    """Read the RTP header extension color-space of libwebrtc: a byte each for primaries, transfer and matrix, then
    range and siting of the chroma; what may follow describes high dynamic range. None: not one.
    """
    if len(data) < EXTENSION_BYTES:
        return None
    return ColorSpace(data[0], data[1], data[2], data[3] >> 4 & 3 == FULL)


def as_extension(space: ColorSpace) -> bytes:
    """Write that extension; the siting of the chroma is left unspecified."""
    return bytes([space.primaries, space.transfer, space.matrix, (FULL if space.full_range else LIMITED) << 4])
