"""The way of one video track: packets -> frames -> pictures -> effect -> packets, bounded at every step."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import StrEnum

import av
import structlog
from aiortc import MediaStreamError
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame

from mediapod.engine import DeadlineExceeded, Engine
from mediapod.frames.i420 import I420Frame
from mediapod.frames.ledger import FrameLedger, Result, Stage, Ticket
from mediapod.frames.mailbox import Mailbox, MailboxClosed
from mediapod.rtc.bitstream import Codec, is_keyframe
from mediapod.rtc.decoder import DecodedPicture, DecoderThread, EncodedPicture
from mediapod.rtc.encoders import VideoEncoder, open_encoder
from mediapod.rtc.jitter import EncodedFrame, MarkerJitterBuffer, MediaPacket, TimestampUnwrapper
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
    """The pipeline's rules for a frame: deadline in seconds after its first packet, and what becomes of late ones."""

    deadline_seconds: float
    late: LatePolicy


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A picture to be encoded and the result that its frame gets once it is sent."""

    frame: I420Frame
    ticket: Ticket
    result: Result


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
        self._decoder = DecoderThread(self._inbox.put, self._wanted_of_peer.want)
        self._encoder: VideoEncoder | None = None
        self._packer: H264Encoder | Vp8Encoder | None = None
        self._sending: _Outgoing | None = None
        self._task: asyncio.Task[None] | None = None
        self._limit: int | None = None
        self.frames_sent = 0

    def start(self) -> None:
        """Start the decoder's thread and the processing task."""
        self._decoder.start()
        self._task = self._loop.create_task(self._process(), name="mediapod-process")

    async def close(self) -> None:
        """End the path; frames under way count as superseded.

        Waits for the decoder's thread, off the loop and bounded.
        """
        self._decoder.stop()
        self._inbox.close()
        self._outbox.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=JOIN_SECONDS)
        await self._loop.run_in_executor(self._encode_pool, self._decoder.join, JOIN_SECONDS)

    @property
    def target_bitrate(self) -> int:
        """The last announced limit in bits per second (0: none yet). aiortc sets it when the peer sends REMB."""
        return self._limit or 0

    @target_bitrate.setter
    def target_bitrate(self, bits_per_second: int) -> None:
        self._limit = bits_per_second
        if self._encoder is not None:
            self._encoder.limit(bits_per_second)

    def request_keyframe(self) -> None:
        """The peer asks for a keyframe (PLI or FIR)."""
        self._wanted_of_us.want()

    def on_packet(self, packet: MediaPacket, data: bytes, parameters: RTCRtpCodecParameters) -> bool:
        """Take one RTP packet; returns whether to ask the peer for a keyframe now."""
        now = time.monotonic()
        for frame in self._jitter.add(packet, data, now):
            if frame.data:  # padding only: bandwidth probes
                self._receive(frame, Codec(parameters.name.upper()))
        if self._jitter.lost:
            self._jitter.lost = False
            self._wanted_of_peer.want()
        return self._wanted_of_peer.due(now)

    def _receive(self, frame: EncodedFrame, codec: Codec) -> None:
        ticket = self._ledger.receive(frame.first_packet, self._timestamps.unwrap(frame.timestamp))
        ticket.stage(Stage.JITTER)
        if is_keyframe(codec, frame.data):
            self._wanted_of_peer.satisfied()
        self._decoder.put(EncodedPicture(codec, frame.data, ticket))

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
            return _Outgoing(picture.frame, ticket, Result.BYPASSED) if bypass else None
        except Exception as error:  # noqa: BLE001  a user's effect may raise anything; it must never end a session
            log.warning("effect failed, frame sent unprocessed", error=str(error), kind=type(error).__name__)
            return _Outgoing(picture.frame, ticket, Result.ERROR)
        return _Outgoing(processed.frame, ticket, Result.OK)

    async def next_frame(self, parameters: RTCRtpCodecParameters) -> RTCEncodedFrame:
        """The next frame to send, encoded. The call says that the one before has left.

        Raises MediaStreamError at the end.
        """
        self._finish_sending()
        while True:
            try:
                outgoing = await self._outbox.get()
            except MailboxClosed:
                raise MediaStreamError from None
            payloads = await self._encode(outgoing, Codec(parameters.name.upper()))
            if payloads:
                self._sending = outgoing
                return RTCEncodedFrame(payloads, outgoing.ticket.timestamp, None)  # type: ignore[arg-type]

    def _finish_sending(self) -> None:
        sent, self._sending = self._sending, None
        if sent is not None:
            sent.ticket.stage(Stage.SEND)
            sent.ticket.settle(sent.result)
            self.frames_sent += 1

    async def _encode(self, outgoing: _Outgoing, codec: Codec) -> list[bytes]:
        """RTP payloads of the picture; empty when the encoder failed (it starts afresh with the next one)."""
        encoder, packer = self._encoder_for(codec)
        keyframe = self._wanted_of_us.due(time.monotonic())
        ticket = outgoing.ticket
        try:
            packet = await self._loop.run_in_executor(
                self._encode_pool, encoder.encode, outgoing.frame, ticket.timestamp, keyframe
            )
        except (av.FFmpegError, ValueError) as error:
            log.warning("frame could not be encoded", error=str(error), codec=codec)
            ticket.settle(Result.ERROR)
            self._encoder = None
            return []
        ticket.stage(Stage.ENCODE)
        if packet.is_keyframe:
            self._wanted_of_us.satisfied()
        payloads, _ = packer.pack(packet)
        return payloads

    def _encoder_for(self, codec: Codec) -> tuple[VideoEncoder, H264Encoder | Vp8Encoder]:
        if self._encoder is None:
            self._encoder = open_encoder(codec)
            if self._limit is not None:
                self._encoder.limit(self._limit)
        if self._packer is None:
            self._packer = H264Encoder() if codec is Codec.H264 else Vp8Encoder()
        return self._encoder, self._packer


def _superseded(item: DecodedPicture | _Outgoing) -> None:
    item.ticket.settle(Result.SUPERSEDED)
