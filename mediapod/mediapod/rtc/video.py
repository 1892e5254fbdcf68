"""The way of one video track: packets -> frames -> pictures -> effect -> packets, bounded at every step."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import av
import structlog
from aiortc import MediaStreamError
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import RtpPacket
from av.packet import Packet

from mediapod.engine import DeadlineExceeded, Engine
from mediapod.frames.color_space import ColorSpace, as_extension, from_extension
from mediapod.frames.i420 import I420Frame
from mediapod.frames.ledger import FrameLedger, Result, Stage, Ticket
from mediapod.frames.mailbox import Mailbox, MailboxClosed
from mediapod.frames.motion import MotionMap
from mediapod.frames.rate_cap import FrameRateCap
from mediapod.rtc.bitstream import Codec, is_keyframe, starts_frame
from mediapod.rtc.compat import color_space_of
from mediapod.rtc.decoder import TIME_BASE, DecodedPicture, DecoderThread, EncodedPicture
from mediapod.rtc.encoders import VideoEncoder, open_encoder
from mediapod.rtc.forward import Forwarder
from mediapod.rtc.jitter import EncodedFrame, MarkerJitterBuffer, TimestampUnwrapper
from mediapod.rtc.keyframes import KeyframeRequests

log = structlog.get_logger(__name__)

ENGINE_GRACE_SECONDS = 2.0  # an engine that says nothing for this long after the deadline counts as failed
JOIN_SECONDS = 2.0


class LatePolicy(StrEnum):
    """What happens to a frame past its deadline."""

    DROP = "Drop"
    BYPASS = "Bypass"


@dataclass(frozen=True, slots=True)
class FramePolicy:
    """The pipeline's rules for a frame: deadline in seconds after its first packet, what becomes of late ones, and
    whether nothing is changed anyway, so that encoded frames may go back as they came, and whether an effect sees
    the motion of the stream.
    """

    deadline_seconds: float
    late: LatePolicy
    forward_unchanged: bool = False
    sees_motion: bool = False


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A picture to be encoded and the result that its frame gets once it is sent."""

    frame: I420Frame
    ticket: Ticket
    result: Result
    color_space: ColorSpace | None = None


class VideoPath:
    """The data path of one video track. Create, `start`, and `close` on the event loop;
    decoding runs in its own thread.
    """

    def __init__(self, ledger: FrameLedger, engine: Engine, policy: FramePolicy, encode_pool: Executor) -> None:
        self._loop = asyncio.get_running_loop()
        self._ledger, self._engine, self._policy, self._encode_pool = ledger, engine, policy, encode_pool
        self._jitter, self._timestamps = MarkerJitterBuffer(), TimestampUnwrapper()
        self._wanted_of_peer, self._wanted_of_us = KeyframeRequests(), KeyframeRequests()
        self._inbox: Mailbox[DecodedPicture] = Mailbox(self._loop, _superseded)
        self._outbox: Mailbox[_Outgoing] = Mailbox(self._loop, _superseded)
        self._forwarder = Forwarder(policy.forward_unchanged, self._wanted_of_peer.want)
        self._cap = FrameRateCap(ledger.late_share, time.monotonic())
        self._motion = MotionMap()  # in the decoder's thread
        self._decoder = DecoderThread(self._decoded, self._wanted_of_peer.want)
        self._encoder: VideoEncoder | None = None
        self._packer: H264Encoder | Vp8Encoder | None = None
        self._sending: tuple[Ticket, Result] | None = None
        self._task: asyncio.Task[None] | None = None
        self._limit: int | None = None
        self._announced: ColorSpace | None = None  # since the last keyframe
        self._received_as: ColorSpace | None = None
        self._sent_as: ColorSpace | None = None
        self.frames_sent = 0
        self.size: tuple[int, int] | None = None  # width, height of the last decoded picture

    def start(self) -> None:
        """Start the decoder's thread and the processing task."""
        self._decoder.start()
        self._task = self._loop.create_task(self._process(), name="mediapod-process")

    async def close(self) -> None:
        """End the path; frames under way count as superseded.

        Waits for the decoder's thread, off the loop and bounded.
        """
        self._decoder.stop()
        self._forwarder.close()
        self._inbox.close()
        self._outbox.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=JOIN_SECONDS)
            self._task = None  # its exception refers to the picture that it was at
        await self._loop.run_in_executor(self._encode_pool, self._decoder.join, JOIN_SECONDS)
        # Tens of megabytes that libav holds for a 720p session; what refers to this path may take long to be collected.
        self._encoder = self._packer = None

    @property
    def frame_rate_cap(self) -> float | None:
        """Frames per second above which frames are shed now; None: none are."""
        return self._cap.frames_per_second

    @property
    def forwards(self) -> bool:
        """Whether frames go back as they came, without being decoded."""
        return self._forwarder.active

    @property
    def target_bitrate(self) -> int:
        """The last announced limit in bits per second (0: none yet). aiortc sets it when the peer sends REMB."""
        return self._limit or 0

    @target_bitrate.setter
    def target_bitrate(self, bits_per_second: int) -> None:
        self._limit = bits_per_second
        self._forwarder.limit(bits_per_second)
        if self._encoder is not None:
            self._encoder.limit(bits_per_second)

    def color_space_extension(self) -> bytes | None:
        """What is to be said of the colours of the frame that is being sent."""
        return as_extension(self._sent_as) if self._sent_as is not None else None

    def request_keyframe(self) -> None:
        """The peer asks for a keyframe (PLI or FIR). Who forwards can only pass the question on."""
        (self._wanted_of_peer if self._forwarder.active else self._wanted_of_us).want()

    def on_packet(self, packet: RtpPacket, data: bytes, parameters: RTCRtpCodecParameters, arrived: float) -> bool:
        """Take one RTP packet that arrived at `arrived`; returns whether to ask the peer for a keyframe now."""
        codec = Codec(parameters.name.upper())
        if (said := color_space_of(packet)) is not None:
            self._announced = from_extension(said)
        for frame in self._jitter.add(packet, data, arrived, lambda: starts_frame(codec, packet.payload)):
            if frame.data:  # padding only: bandwidth probes
                self._receive(frame, codec)
        if self._jitter.lost:
            self._jitter.lost = False
            self._wanted_of_peer.want()
        return self._wanted_of_peer.due(time.monotonic())

    def _receive(self, frame: EncodedFrame, codec: Codec) -> None:
        ticket = self._ledger.receive(frame.first_packet, self._timestamps.unwrap(frame.timestamp))
        ticket.stage(Stage.JITTER)
        keyframe = is_keyframe(codec, frame.data)
        if keyframe:
            self._wanted_of_peer.satisfied()
        if keyframe or self._announced is not None:  # it is said with keyframes, and when it changes
            self._received_as, self._announced = self._announced, None
        picture = EncodedPicture(codec, frame.data, ticket, self._received_as)
        if not self._forwarder.put(picture, time.monotonic()):
            self._decoder.put(picture)

    def _decoded(self, picture: DecodedPicture) -> None:
        """In the decoder's thread."""
        self.size = (picture.frame.width, picture.frame.height)
        if self._cap.admits(picture.ticket.timestamp, time.monotonic()):
            self._inbox.put(self._with_motion(picture) if self._policy.sees_motion else picture)
        else:
            picture.ticket.settle(Result.SHED)

    def _with_motion(self, picture: DecodedPicture) -> DecodedPicture:
        motion = self._motion.add(picture.frame.y, picture.ticket.timestamp)
        return replace(picture, frame=replace(picture.frame, motion=motion))

    async def _process(self) -> None:
        while True:
            try:
                picture = await self._inbox.get()
            except MailboxClosed:
                return
            picture.ticket.stage(Stage.QUEUE)
            outgoing = await self._apply(picture)
            if outgoing is None:
                picture.ticket.settle(Result.LATE)
            else:
                picture.ticket.stage(Stage.EFFECT)
                self._outbox.put(outgoing)
            del picture, outgoing  # a megabyte and more, until the next one comes

    async def _apply(self, picture: DecodedPicture) -> _Outgoing | None:
        """Run the engine on a picture; None: late, to be dropped. An error of any kind sends the picture as it came."""
        ticket = picture.ticket
        deadline = ticket.first_packet + self._policy.deadline_seconds
        patience = max(0.0, deadline - time.monotonic()) + ENGINE_GRACE_SECONDS
        try:
            async with asyncio.timeout(patience):
                processed = await self._engine.process(picture.frame, deadline)
        except DeadlineExceeded:
            bypass = self._policy.late is LatePolicy.BYPASS
            return _Outgoing(picture.frame, ticket, Result.BYPASSED, picture.color_space) if bypass else None
        except Exception as error:  # noqa: BLE001  a user's effect may raise anything; it must never end a session
            log.warning("effect failed, frame sent unprocessed", error=str(error), kind=type(error).__name__)
            return _Outgoing(picture.frame, ticket, Result.ERROR, picture.color_space)
        return _Outgoing(processed.frame, ticket, Result.OK, picture.color_space)

    async def next_frame(self, parameters: RTCRtpCodecParameters) -> RTCEncodedFrame:
        """The next frame to send, encoded. The call says that the one before has left.

        Raises MediaStreamError at the end.
        """
        self._finish_sending()
        codec = Codec(parameters.name.upper())
        forwarded = await self._forwarder.get(codec)
        if forwarded is not None:
            return self._as_it_came(forwarded)
        while True:
            try:
                outgoing = await self._outbox.get()
            except MailboxClosed:
                raise MediaStreamError from None
            payloads = await self._encode(outgoing, codec)
            if payloads:
                self._sending, self._sent_as = (outgoing.ticket, outgoing.result), outgoing.color_space
                return RTCEncodedFrame(payloads, outgoing.ticket.timestamp, None)  # type: ignore[arg-type]

    def _as_it_came(self, picture: EncodedPicture) -> RTCEncodedFrame:
        ticket = picture.ticket
        for skipped in (Stage.DECODE, Stage.QUEUE, Stage.EFFECT, Stage.ENCODE):
            ticket.stage(skipped)
        packet = av.Packet(picture.data)
        packet.pts, packet.time_base = ticket.timestamp, TIME_BASE
        payloads, _ = self._packer_for(picture.codec).pack(packet)
        self._sending, self._sent_as = (ticket, Result.OK), picture.color_space
        return RTCEncodedFrame(payloads, ticket.timestamp, None)  # type: ignore[arg-type]

    def _finish_sending(self) -> None:
        sent, self._sending = self._sending, None
        if sent is not None:
            ticket, result = sent
            ticket.stage(Stage.SEND)
            ticket.settle(result)
            self.frames_sent += 1

    async def _encode(self, outgoing: _Outgoing, codec: Codec) -> list[bytes]:
        """RTP payloads of the picture; empty when it was late, or the encoder failed and starts afresh."""
        ticket = outgoing.ticket
        try:
            packet = await self._loop.run_in_executor(
                self._encode_pool, self._encode_in_time, self._encoder_for(codec), outgoing
            )
        except (av.FFmpegError, ValueError) as error:
            log.warning("frame could not be encoded", error=str(error), codec=codec)
            ticket.settle(Result.ERROR)
            self._encoder = None
            return []
        if packet is None:
            ticket.settle(Result.LATE)
            return []
        ticket.stage(Stage.ENCODE)
        if packet.is_keyframe:
            self._wanted_of_us.satisfied()
        payloads, _ = self._packer_for(codec).pack(packet)
        return payloads

    def _encode_in_time(self, encoder: VideoEncoder, outgoing: _Outgoing) -> Packet[Any] | None:
        """In a thread of the pool. The last moment at which a late frame can be left out: the ones after an encoded
        frame refer to it.
        """
        if self._policy.late is LatePolicy.DROP and outgoing.ticket.age_seconds > self._policy.deadline_seconds:
            return None
        keyframe = self._wanted_of_us.due(time.monotonic())
        encoder.color_space = outgoing.color_space
        return encoder.encode(outgoing.frame, outgoing.ticket.timestamp, keyframe)

    def _encoder_for(self, codec: Codec) -> VideoEncoder:
        if self._encoder is None:
            self._encoder = open_encoder(codec)
            if self._limit is not None:
                self._encoder.limit(self._limit)
        return self._encoder

    def _packer_for(self, codec: Codec) -> H264Encoder | Vp8Encoder:
        if self._packer is None:
            self._packer = H264Encoder() if codec is Codec.H264 else Vp8Encoder()
        return self._packer


def _superseded(item: DecodedPicture | _Outgoing) -> None:
    item.ticket.settle(Result.SUPERSEDED)
