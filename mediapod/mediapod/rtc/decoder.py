"""Video decoding in one daemon thread a track, with a bounded queue that never drops silently."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import av
import structlog
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from mediapod.frames.color_space import UNSPECIFIED, ColorSpace
from mediapod.frames.i420 import I420Frame
from mediapod.frames.ledger import Result, Stage, Ticket
from mediapod.rtc.bitstream import Codec
from mediapod.rtc.chain import FrameChain
from mediapod.rtc.planes import color_space_of, from_picture

log = structlog.get_logger(__name__)

QUEUE_FRAMES = 24  # 0.8 s at 30 fps: more would be older than any deadline anyway
REORDER_FRAMES = 8  # frames that may be inside the decoder without having come out
MAXIMUM_PIXELS = 1920 * 1088
TIME_BASE = Fraction(1, 90_000)
DECODERS = {Codec.H264: "h264", Codec.VP8: "vp8"}  # libav's own VP8 decoder needs a quarter less time than libvpx


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A complete encoded frame with its ticket, waiting for the decoder. color_space: what was said of it beside the
    stream.
    """

    codec: Codec
    data: bytes
    ticket: Ticket
    color_space: ColorSpace | None = None


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A decoded frame, in limited range, with its ticket. color_space: None where nobody has said anything."""

    frame: I420Frame
    ticket: Ticket
    color_space: ColorSpace | None = None


class DecoderThread:
    """Decodes the frames of one track in order.

    on_picture and on_trouble are called in the decoder's thread: a picture is ready; a keyframe is needed.
    When more than `capacity` frames wait, all of them count as superseded and decoding goes on at the next keyframe
    (see FrameChain).
    """

    def __init__(
        self,
        on_picture: Callable[[DecodedPicture], None],
        on_trouble: Callable[[], None],
        capacity: int = QUEUE_FRAMES,
    ) -> None:
        self._on_picture = on_picture
        self._on_trouble = on_trouble
        self._queue: FrameChain[EncodedPicture] = FrameChain(capacity)
        self._changed = threading.Condition()
        self._stopped = False
        self._decoder = _Decoder()
        self._thread = threading.Thread(target=self._run, name="mediapod-decode", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, picture: EncodedPicture) -> None:
        """Queue a frame; never waits."""
        with self._changed:
            dropped = self._queue.push(picture)
            self._changed.notify()
        for superseded in dropped:
            superseded.ticket.settle(Result.SUPERSEDED)
        if dropped:
            self._on_trouble()

    def stop(self) -> None:
        """Let the thread end after the frame it is working on. Does not wait; `join` does."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread; never on the event loop. Returns whether it has ended."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (picture := self._take()) is not None:
            try:
                for decoded in self._decoder.decode(picture):
                    self._on_picture(decoded)
            except (av.FFmpegError, ValueError) as error:
                log.debug("frame could not be decoded", error=str(error))
                picture.ticket.settle(Result.ERROR)
                self._on_trouble()
        self._decoder.close()

    def _take(self) -> EncodedPicture | None:
        with self._changed:
            while not self._queue and not self._stopped:
                self._changed.wait()
            return None if self._stopped else self._queue.pop()


class _Decoder:
    """A libav decoder that is opened for the codec of the stream, and the tickets of the frames inside it."""

    def __init__(self) -> None:
        self._codec: Codec | None = None
        self._context: VideoCodecContext | None = None
        self._inside: dict[int, Ticket] = {}

    def decode(self, picture: EncodedPicture) -> list[DecodedPicture]:
        """Feed one frame; returns the pictures that came out. Raises av.FFmpegError or ValueError."""
        ticket = picture.ticket
        packet = av.Packet(picture.data)
        packet.pts, packet.time_base = ticket.timestamp, TIME_BASE
        self._remember(ticket)
        try:
            outputs = self._context_for(picture.codec).decode(packet)
        except av.FFmpegError:
            self._inside.pop(ticket.timestamp, None)
            raise
        found = (self._finish(output, picture.color_space) for output in outputs)
        return [decoded for decoded in found if decoded is not None]

    def close(self) -> None:
        """Give back libav's memory."""
        self._context = None
        self._inside.clear()

    def _context_for(self, codec: Codec) -> VideoCodecContext:
        if self._context is None or codec is not self._codec:
            context = cast("VideoCodecContext", av.CodecContext.create(DECODERS[codec], "r"))
            context.thread_count = 1
            # A few bytes can announce 16383 x 16383; libav would take the memory for it before anything is seen of it.
            context.options = {"max_pixels": str(MAXIMUM_PIXELS)}
            context.flags |= Flags.low_delay
            self._codec, self._context = codec, context
        return self._context

    def _remember(self, ticket: Ticket) -> None:
        same = self._inside.pop(ticket.timestamp, None)
        if same is not None:
            same.settle(Result.SUPERSEDED)
        self._inside[ticket.timestamp] = ticket
        if len(self._inside) > REORDER_FRAMES:  # frames that show nothing never come out
            self._inside.pop(next(iter(self._inside))).settle(Result.SUPERSEDED)

    def _finish(self, output: av.VideoFrame, announced: ColorSpace | None) -> DecodedPicture | None:
        ticket = self._inside.pop(output.pts if output.pts is not None else -1, None)
        if ticket is None:
            return None
        if output.width * output.height > MAXIMUM_PIXELS:
            ticket.settle(Result.ERROR)
            raise ValueError(f"a picture of {output.width}x{output.height} has more than {MAXIMUM_PIXELS} pixels")
        # VP8 has no say in this; libav only repeats what RFC 6386 takes for granted.
        space = announced or (color_space_of(output) if self._codec is Codec.H264 else None)
        frame = from_picture(output, full_range=space is not None and space.full_range)
        ticket.stage(Stage.DECODE)
        known = space is not None and space.matrix != UNSPECIFIED
        return DecodedPicture(frame, ticket, replace(space, full_range=False) if known and space else None)
