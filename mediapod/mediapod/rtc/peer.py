"""One WebRTC peer: the offer answered, its video path and audio echo wired to aiortc, closed without leaving
anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NoReturn

import structlog
from aiortc import (
    MediaStreamError,
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcrtpparameters import RTCRtpCodecCapability, RTCRtpCodecParameters
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import RtpPacket

from mediapod.engine import Engine
from mediapod.frames.ledger import FrameLedger
from mediapod.rtc import compat
from mediapod.rtc.audio import AudioEcho
from mediapod.rtc.ice import MediaAddress
from mediapod.rtc.offer import InvalidOffer, MediaLine, Offer
from mediapod.rtc.video import FramePolicy, VideoPath

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 5.0
SILENT_SECONDS = 8.0  # a living peer answers our consent checks, at most 6 s apart, also when it is muted
PREFERENCE = {"video": ("video/H264", "video/VP8"), "audio": ("audio/opus",)}
NEGOTIATION_ERRORS = (OperationError, InvalidAccessError, InvalidStateError, ValueError, AssertionError, KeyError)

OnConnectionState = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What a peer can tell of its media. width and height are those of the last decoded picture; forwarded: pictures go
    back without being decoded. None: not known (yet).
    """

    video_codec: str
    width: int | None
    height: int | None
    forwarded: bool
    frames_sent: int
    frame_rate_cap: float | None
    bits_per_second_limit: int | None
    round_trip_seconds: float | None
    audio_packets_lost: int
    silent_seconds: float


class _OutgoingTrack(MediaStreamTrack):
    """Says that something will be sent; what is sent comes from the video path or the echo, not from here."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> NoReturn:
        raise MediaStreamError


class Peer:
    """The server's end of one peer connection."""

    def __init__(
        self,
        engine: Engine,
        policy: FramePolicy,
        ledger: FrameLedger,
        encode_pool: Executor,
        address: MediaAddress,
        on_state: OnConnectionState,
    ) -> None:
        configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self._connection = RTCPeerConnection(configuration)
        self._address, self._on_state = address, on_state
        self._video = VideoPath(ledger, engine, policy, encode_pool)
        self._audio = AudioEcho()
        self.last_packet = time.monotonic()
        self._video_codec = ""
        self._video_sender: RTCRtpSender | None = None

    def report(self) -> PeerReport:
        """What can be told of this peer now."""
        width, height = self._video.size or (None, None)
        sender = self._video_sender
        return PeerReport(
            video_codec=self._video_codec,
            width=width,
            height=height,
            forwarded=self._video.forwards,
            frames_sent=self._video.frames_sent,
            frame_rate_cap=self._video.frame_rate_cap,
            bits_per_second_limit=self._video.target_bitrate or None,
            round_trip_seconds=compat.round_trip_seconds(sender) if sender is not None else None,
            audio_packets_lost=self._audio.packets_lost,
            silent_seconds=time.monotonic() - compat.last_contact(self._connection),
        )

    @property
    def is_lost(self) -> bool:
        """Whether the peer has gone without a word: nothing at all was heard for too long, neither media nor ICE."""
        return time.monotonic() - compat.last_contact(self._connection) > SILENT_SECONDS

    async def answer(self, offer: Offer) -> str:
        """Answer a checked offer and start; returns the SDP with all candidates. Raises InvalidOffer, NoMediaPort."""
        self._video.start()
        self._connection.on("connectionstatechange", lambda: self._on_state(self._connection.connectionState))
        for line in offer.media:
            self._prepare(line)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        except NEGOTIATION_ERRORS as error:
            raise InvalidOffer("sdp", f"cannot be negotiated: {error}") from error
        self._wire(offer)
        compat.open_sockets_with(self._connection, self._address.open)
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._connection.localDescription.sdp

    async def close(self) -> None:
        """Stop sending and receiving, close sockets, end the threads. Bounded in time; never raises."""
        self._audio.close()
        self._connection.remove_all_listeners("connectionstatechange")
        await self._video.close()
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001  a peer that does not close cleanly must not keep its session open
            log.warning("peer connection did not close cleanly", error=str(error), kind=type(error).__name__)

    def _prepare(self, line: MediaLine) -> None:
        transceiver = self._connection.addTransceiver(_OutgoingTrack(line.kind), direction="sendrecv")
        transceiver.setCodecPreferences(_preferences(line.kind))

    def _wire(self, offer: Offer) -> None:
        lines = {line.mid: line for line in offer.media}
        for transceiver in self._connection.getTransceivers():
            line = lines[str(transceiver.mid)]
            path = self._video if line.kind == "video" else self._audio
            compat.take_over_receiver(transceiver.receiver, self._noting_arrival(path), lambda: None)
            if line.kind == "video":
                self._wire_video(transceiver, line)
            else:
                compat.take_over_sender(transceiver.sender, self._audio.next_frame, lambda: None, None)

    def _wire_video(self, transceiver: RTCRtpTransceiver, line: MediaLine) -> None:
        video = self._video
        compat.take_over_sender(transceiver.sender, video.next_frame, video.request_keyframe, video)
        if line.playout_delay_id is not None:
            compat.negotiate_playout_delay(transceiver, line.playout_delay_id)
        self._video_codec, self._video_sender = compat.chosen_codec(transceiver).name, transceiver.sender

    def _noting_arrival(self, path: VideoPath | AudioEcho) -> compat.OnPacket:
        def on_packet(packet: RtpPacket, data: bytes, codec: RTCRtpCodecParameters, arrived: float) -> bool:
            self.last_packet = time.monotonic()
            return path.on_packet(packet, data, codec, arrived)

        return on_packet


def _preferences(kind: str) -> list[RTCRtpCodecCapability]:
    """Our capabilities in the order in which we like them, retransmission kept."""
    order = {name.lower(): rank for rank, name in enumerate(PREFERENCE[kind])}
    codecs = RTCRtpSender.getCapabilities(kind).codecs
    return sorted(codecs, key=lambda codec: order.get(codec.mimeType.lower(), len(order)))
