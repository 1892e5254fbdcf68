"""Video encoders set for latency: x264 with a rate that changes on the open context, libvpx with its fast settings.

Measured per 720p picture on one core: x264 as aiortc opens it 17 ms, `ultrafast` with one thread 2.6 ms;
libvpx as aiortc opens it
5.7 ms, with these options 3.2 ms before `static-thresh` was raised from 1 to 100, which saves 6 to 9 % where much of
the picture stands still. Speed 12 instead of 16 takes 0.4 to 0.8 ms more and looks better only where the rate is too
low for the picture (1 dB at 1.5 Mb/s).
"""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any, Protocol, cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import ColorRange

from mediapod.frames.color_space import ColorSpace
from mediapod.frames.i420 import I420Frame
from mediapod.rtc.bitstream import Codec
from mediapod.rtc.planes import into_picture

TIME_BASE = Fraction(1, 90_000)
NOMINAL_FRAME_RATE = Fraction(30)
REFERENCE_PIXELS, REFERENCE_BITS_PER_SECOND = 1280 * 720, 1_500_000
MINIMUM_BITS_PER_SECOND = 100_000
KEYFRAME_DISTANCE = 3000  # pictures; keyframes are made on request, not by the clock
X264_CHANGE_SHARE = 0.05  # smaller changes of the rate are not worth a call
LIBVPX_CHANGE_SHARE, LIBVPX_CHANGE_SECONDS = 0.25, 2.0  # a change rebuilds the encoder and costs a keyframe


def suitable_bits_per_second(width: int, height: int) -> int:
    """The rate for a picture size: 1.5 Mb/s at 1280x720, growing with the 0.75th power of the pixels (a usual rule
    for x264).
    """
    return int(REFERENCE_BITS_PER_SECOND * (width * height / REFERENCE_PIXELS) ** 0.75)


class VideoEncoder(Protocol):
    """One encoder of one session; not thread-safe, called by one thread at a time."""

    color_space: ColorSpace | None
    """What the stream is to say of its colours, as far as its codec can: H.264 in its parameter sets, VP8 nowhere."""

    def encode(self, frame: I420Frame, timestamp: int, keyframe: bool) -> Packet[Any]:
        """Encode one picture. timestamp: 90 kHz. Raises av.FFmpegError."""

    def limit(self, bits_per_second: int) -> None:
        """What the receiver says it can take (REMB); never raises the rate above what suits the picture."""


class _Encoder:
    """What both encoders share: one reused picture, timestamps that always grow, a context for the current size."""

    def __init__(self) -> None:
        self._context: VideoCodecContext | None = None
        self._picture: av.VideoFrame | None = None
        self._last_timestamp = -1
        self._ceiling = 1 << 31
        self.color_space: ColorSpace | None = None
        self._said: ColorSpace | None = None  # by the open context

    def limit(self, bits_per_second: int) -> None:
        """See VideoEncoder.limit."""
        self._ceiling = max(MINIMUM_BITS_PER_SECOND, bits_per_second)

    def encode(self, frame: I420Frame, timestamp: int, keyframe: bool) -> Packet[Any]:
        """See VideoEncoder.encode."""
        context = self._context_for(frame)
        picture = self._fill(frame)
        self._last_timestamp = max(self._last_timestamp + 1, timestamp)
        picture.pts, picture.time_base = self._last_timestamp, TIME_BASE
        picture.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = context.encode(picture)
        if len(packets) != 1:
            raise ValueError(f"the {context.name} encoder returned {len(packets)} packets for one picture instead of 1")
        return packets[0]

    def _context_for(self, frame: I420Frame) -> VideoCodecContext:
        context, rate = self._context, self._target(frame)
        wanted = (frame.width, frame.height), self.color_space
        if context is None or ((context.width, context.height), self._said) != wanted or not self._adopt(rate):
            context = self._context = self._open(frame.width, frame.height, rate)
            self._said = self.color_space
            self._last_timestamp = -1
        return context

    def _target(self, frame: I420Frame) -> int:
        return min(suitable_bits_per_second(frame.width, frame.height), self._ceiling)

    def _fill(self, frame: I420Frame) -> av.VideoFrame:
        picture = self._picture
        if picture is None or (picture.width, picture.height) != (frame.width, frame.height):
            picture = self._picture = av.VideoFrame(frame.width, frame.height, "yuv420p")
        into_picture(frame, picture)
        return picture

    def _open(self, width: int, height: int, rate: int) -> VideoCodecContext:
        raise AssertionError("abstract")

    def _adopt(self, rate: int) -> bool:
        """Whether the open context goes on (with the new rate, if it took it)."""
        raise AssertionError("abstract")


def _context(name: str, width: int, height: int, rate: int, options: dict[str, str]) -> VideoCodecContext:
    context = cast("VideoCodecContext", av.CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.bit_rate = rate
    context.time_base, context.framerate = TIME_BASE, NOMINAL_FRAME_RATE
    context.gop_size, context.thread_count = KEYFRAME_DISTANCE, 1
    context.options = options
    return context


class X264Encoder(_Encoder):
    """H.264 constrained baseline; follows the rate through VBV without a keyframe."""

    def _open(self, width: int, height: int, rate: int) -> VideoCodecContext:
        options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "maxrate": str(rate),
            "bufsize": str(rate // 2),
            "forced-idr": "1",
            "x264-params": "scenecut=0:keyint=infinite:repeat-headers=1",
        }
        context = _context("libx264", width, height, rate, options)
        context.profile = "Baseline"
        if (space := self.color_space) is not None:
            context.color_primaries, context.color_trc = space.primaries, space.transfer
            context.colorspace, context.color_range = space.matrix, ColorRange.MPEG
        return context

    def _adopt(self, rate: int) -> bool:
        context = self._context
        if context is not None and abs(rate - (context.bit_rate or 0)) > X264_CHANGE_SHARE * (context.bit_rate or 1):
            context.bit_rate = rate
        return True


class LibvpxEncoder(_Encoder):
    """VP8; libvpx through libav takes no new rate while open, so only large, rare changes are carried out."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = float("-inf")

    def _open(self, width: int, height: int, rate: int) -> VideoCodecContext:
        self._opened = time.monotonic()
        options = {
            "deadline": "realtime",
            "cpu-used": "-16",
            "lag-in-frames": "0",
            "noise-sensitivity": "0",
            "static-thresh": "100",
            "minrate": str(rate),
            "maxrate": str(rate),
            "bufsize": str(rate),
            "undershoot-pct": "100",
            "overshoot-pct": "15",
            "qmin": "2",
            "qmax": "56",
        }
        return _context("libvpx", width, height, rate, options)

    def _adopt(self, rate: int) -> bool:
        current = self._context.bit_rate if self._context is not None else None
        small = abs(rate - (current or 1)) <= LIBVPX_CHANGE_SHARE * (current or 1)
        return small or time.monotonic() - self._opened < LIBVPX_CHANGE_SECONDS


ENCODERS: dict[Codec, type[_Encoder]] = {Codec.H264: X264Encoder, Codec.VP8: LibvpxEncoder}


def open_encoder(codec: Codec) -> VideoEncoder:
    """A new encoder of the codec."""
    return ENCODERS[codec]()
