"""Audio of a video session: Opus comes back as it came, still encoded, in order.

Echoing packets instead of decoded samples costs no codec work and adds no delay. A lost packet leaves a gap in the
timestamps, which the peer conceals: it has the decoder whose state that needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from aiortc import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import RtpPacket

from mediapod.audio.jitter import AdaptiveJitterBuffer, AudioPacket
from mediapod.rtc.jitter import TimestampUnwrapper

CLOCK_HERTZ = 48_000  # RFC 7587 section 4.1


class AudioEcho:
    """Sends each audio packet back."""

    def __init__(self) -> None:
        self._buffer = AdaptiveJitterBuffer(CLOCK_HERTZ)
        self._arrived = asyncio.Event()
        self._timestamps = TimestampUnwrapper()
        self._closed = False

    def on_packet(self, packet: RtpPacket, data: bytes, parameters: RTCRtpCodecParameters, arrived: float) -> bool:
        """Take one RTP packet. Audio has no keyframes: always False."""
        self._buffer.add(AudioPacket(packet.sequence_number, packet.timestamp, packet.payload_type, data, arrived))
        self._arrived.set()
        return False

    async def next_frame(self, parameters: RTCRtpCodecParameters) -> RTCEncodedFrame:
        """The next packet in the negotiated codec. Raises MediaStreamError at the end."""
        while not self._closed:
            while (packet := self._buffer.pop(time.monotonic())) is not None:
                if packet.payload_type == parameters.payloadType and packet.data:
                    timestamp = self._timestamps.unwrap(packet.timestamp)
                    return RTCEncodedFrame([packet.data], timestamp, None)  # type: ignore[arg-type]
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), self._buffer.wait_seconds(time.monotonic()))
        raise MediaStreamError

    @property
    def packets_lost(self) -> int:
        """Packets that were given up."""
        return self._buffer.lost

    def close(self) -> None:
        """End the echo."""
        self._closed = True
        self._arrived.set()
