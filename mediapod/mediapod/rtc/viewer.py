"""A viewer (WHEP): receives the processed media of a publisher of this pod."""

from __future__ import annotations

import time

from aiortc import RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from mediapod.rtc import compat
from mediapod.rtc.broadcast import Broadcast, ViewerQueue
from mediapod.rtc.connection import AnsweringConnection, OnConnectionState, PeerReport
from mediapod.rtc.ice import MediaAddress
from mediapod.rtc.offer import InvalidOffer, MediaLine

PUBLISHER_GONE = "publisher-gone"  # told like a connectionState, which has no word for it


class NoRate:
    """Where a viewer's announced bandwidth ends: the one encoding is for all viewers, no single one slows it down."""

    target_bitrate = 0


class ViewingPeer(AnsweringConnection):
    """The server's end of a viewer's connection."""

    direction = "sendonly"

    def __init__(self, broadcast: Broadcast, address: MediaAddress, on_state: OnConnectionState) -> None:
        super().__init__(address, on_state)
        self._broadcast = broadcast
        self._queues: list[tuple[str, ViewerQueue]] = []
        self._forget = broadcast.when_closed(lambda: on_state(PUBLISHER_GONE))
        self._video_codec, self._frames_sent = "", 0
        self._video_sender: RTCRtpSender | None = None

    def report(self) -> PeerReport:
        """What can be told of this viewer now: it sends no pictures, so there is no size and no frame rate cap."""
        sender = self._video_sender
        return PeerReport(
            video_codec=self._video_codec,
            width=None,
            height=None,
            forwarded=False,
            frames_sent=self._frames_sent,
            frame_rate_cap=None,
            bits_per_second_limit=None,
            round_trip_seconds=compat.round_trip_seconds(sender) if sender is not None else None,
            audio_packets_lost=0,
            silent_seconds=self.silent_seconds,
        )

    @property
    def last_packet(self) -> float:
        """Now: a viewer sends no media; whether it is still there, ICE consent tells."""
        return time.monotonic()

    def _codecs_allowed(self, kind: str) -> tuple[str, ...]:
        codec = self._broadcast.codecs.get(kind)
        return (f"{kind}/{codec}",) if codec else super()._codecs_allowed(kind)

    def _start(self) -> None:
        if self._broadcast.closed or not self._broadcast.codecs:
            raise InvalidOffer("stream", "has ended", unsupported=True)

    async def _stop(self) -> None:
        self._forget()
        for kind, queue in self._queues:
            self._broadcast.leave(kind, queue)

    def _wire(self, transceiver: RTCRtpTransceiver, line: MediaLine) -> None:
        if line.kind not in self._broadcast.codecs:  # the publisher does not send this: the line stays silent
            transceiver.direction = "inactive"
            return
        queue = self._broadcast.watch(line.kind)
        self._queues.append((line.kind, queue))
        if line.kind == "audio":
            compat.take_over_sender(transceiver.sender, queue.next_frame, lambda: None, None)
            return
        self._video_codec, self._video_sender = compat.chosen_codec(transceiver).name, transceiver.sender
        broadcast = self._broadcast
        compat.take_over_sender(
            transceiver.sender, self._counting(queue), broadcast.request_keyframe, NoRate(), broadcast.color_space
        )
        compat.negotiate_extensions(transceiver, line.extensions)

    def _counting(self, queue: ViewerQueue) -> compat.NextFrame:
        async def next_frame(codec: RTCRtpCodecParameters) -> RTCEncodedFrame:
            frame = await queue.next_frame(codec)
            self._frames_sent += 1
            return frame

        return next_frame
