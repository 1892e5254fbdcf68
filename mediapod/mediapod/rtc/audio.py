"""Audio of a video session: Opus comes back as it came, still encoded, through a short queue.

Echoing packets instead of decoded samples costs no codec work, adds no delay and leaves loss concealment to the peer.
"""

from __future__ import annotations

import asyncio
from collections import deque

from aiortc import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import RtpPacket

from mediapod.rtc.jitter import TimestampUnwrapper

QUEUE_PACKETS = 10  # 200 ms; the oldest goes first


class AudioEcho:
    """Sends each audio packet back."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, int, bytes]] = deque(maxlen=QUEUE_PACKETS)
        self._arrived = asyncio.Event()
        self._timestamps = TimestampUnwrapper()
        self._closed = False

    def on_packet(self, packet: RtpPacket, data: bytes, parameters: RTCRtpCodecParameters) -> bool:
        """Take one RTP packet. Audio has no keyframes: always False."""
        self._queue.append((packet.payload_type, self._timestamps.unwrap(packet.timestamp), data))
        self._arrived.set()
        return False

    async def next_frame(self, parameters: RTCRtpCodecParameters) -> RTCEncodedFrame:
        """The next packet in the negotiated codec. Raises MediaStreamError at the end."""
        while not self._closed:
            while self._queue:
                payload_type, timestamp, data = self._queue.popleft()
                if payload_type == parameters.payloadType and data:
                    return RTCEncodedFrame([data], timestamp, None)  # type: ignore[arg-type]
            self._arrived.clear()
            await self._arrived.wait()
        raise MediaStreamError

    def close(self) -> None:
        """End the echo."""
        self._closed = True
        self._arrived.set()
