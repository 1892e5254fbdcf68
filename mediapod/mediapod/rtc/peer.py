"""A peer whose processed video comes back to it, or goes to viewers: its video path and audio wired to aiortc."""

from __future__ import annotations

import asyncio
import time

from aiortc import RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import RtpPacket

from mediapod.rtc import compat
from mediapod.rtc.audio import AudioEcho
from mediapod.rtc.broadcast import Broadcast
from mediapod.rtc.connection import AnsweringConnection, OnConnectionState, PeerReport
from mediapod.rtc.ice import MediaAddress
from mediapod.rtc.offer import MediaLine
from mediapod.rtc.video import VideoPath


class Peer(AnsweringConnection):
    """The server's end of one peer connection: what comes in goes back processed."""

    def __init__(self, video: VideoPath, address: MediaAddress, on_state: OnConnectionState) -> None:
        super().__init__(address, on_state)
        self._video = video
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
            silent_seconds=self.silent_seconds,
        )

    def _start(self) -> None:
        self._video.start()

    async def _stop(self) -> None:
        self._audio.close()
        await self._video.close()

    def _wire(self, transceiver: RTCRtpTransceiver, line: MediaLine) -> None:
        path = self._video if line.kind == "video" else self._audio
        compat.take_over_receiver(transceiver.receiver, self._noting_arrival(path), lambda: None)
        if line.kind == "video":
            self._video_codec = compat.chosen_codec(transceiver).name
            self._wire_video(transceiver, line)
        else:
            self._wire_audio(transceiver, line)

    def _wire_video(self, transceiver: RTCRtpTransceiver, line: MediaLine) -> None:
        video, self._video_sender = self._video, transceiver.sender
        compat.take_over_sender(
            transceiver.sender, video.next_frame, video.request_keyframe, video, video.color_space_extension
        )
        compat.negotiate_extensions(transceiver, line.extensions)

    def _wire_audio(self, transceiver: RTCRtpTransceiver, line: MediaLine) -> None:
        compat.ask_for_opus(transceiver, line.opus)  # what comes goes back, so it is to be what the peer takes
        compat.take_over_sender(transceiver.sender, self._audio.next_frame, lambda: None, None)

    def _noting_arrival(self, path: VideoPath | AudioEcho) -> compat.OnPacket:
        def on_packet(packet: RtpPacket, data: bytes, codec: RTCRtpCodecParameters, arrived: float) -> bool:
            self.last_packet = time.monotonic()
            return path.on_packet(packet, data, codec, arrived)

        return on_packet


class PublishingPeer(Peer):
    """A publisher (WHIP): sends only. Its processed media are encoded once, in its own codecs, for all viewers."""

    direction = "recvonly"

    def __init__(self, video: VideoPath, address: MediaAddress, on_state: OnConnectionState) -> None:
        super().__init__(video, address, on_state)
        self.broadcast = Broadcast(self._video.request_keyframe, self._video.color_space_extension)
        self._pumps: list[asyncio.Task[None]] = []

    async def _stop(self) -> None:
        self.broadcast.close()
        for pump in self._pumps:
            pump.cancel()
        await super()._stop()

    def _wire_video(self, transceiver: RTCRtpTransceiver, line: MediaLine) -> None:
        codec = compat.chosen_codec(transceiver)
        self._pumps.append(self.broadcast.carry("video", codec, self._video.next_frame))
        compat.negotiate_extensions(transceiver, line.extensions)

    def _wire_audio(self, transceiver: RTCRtpTransceiver, line: MediaLine) -> None:
        compat.ask_for_opus(transceiver, line.opus)
        codec = compat.chosen_codec(transceiver)
        self._pumps.append(self.broadcast.carry("audio", codec, self._audio.next_frame))
