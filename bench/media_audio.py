"""Opus there and back: latency of the echo, and how long it stays high after one lost packet."""
# ruff: noqa: SLF001  packets are watched and lost inside aiortc's peer, which has no public place for it

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import aioice.ice
import av
import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from media_servers import Server

from devcluster.load.statistics import percentile

PACKET_SECONDS, PACKET_TICKS, CLOCK = 0.02, 960, 48_000
SILENCE_BEFORE_SECONDS = 1.0  # so that the first packet sent is the first that the service gets
RETURNED_MILLISECONDS = 40.0


def opus_packets(count: int) -> list[bytes]:
    """A tone, encoded once."""
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = CLOCK, "stereo", "s16"
    encoder.bit_rate, encoder.time_base = 64_000, Fraction(1, CLOCK)
    encoder.open()
    packets: list[bytes] = []
    for index in range(count):
        times = (np.arange(PACKET_TICKS) + index * PACKET_TICKS) / CLOCK
        tone = (np.sin(2 * np.pi * 440 * times) * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = CLOCK, index * PACKET_TICKS, Fraction(1, CLOCK)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


class OpusTrack(MediaStreamTrack):
    """Sends the packets in time, again and again, from `begin` on."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._packets = opus_packets(50)
        self._start: float | None = None
        self.begin = asyncio.Event()
        self.sent: list[float] = []

    async def recv(self) -> Any:
        """Return the next packet when it is due."""
        await self.begin.wait()
        self._start = self._start or time.monotonic()
        await asyncio.sleep(max(0.0, self._start + len(self.sent) * PACKET_SECONDS - time.monotonic()))
        packet = av.Packet(self._packets[len(self.sent) % len(self._packets)])
        packet.pts, packet.time_base = len(self.sent) * PACKET_TICKS, Fraction(1, CLOCK)
        self.sent.append(time.monotonic())
        return packet


@dataclass(frozen=True)
class AudioEcho:
    """p50 and p95 before the loss, p50 from two seconds after it on, how long it was above 40 ms (None: for ever)."""

    p50_milliseconds: float
    p95_milliseconds: float
    after_loss_p50_milliseconds: float
    recovery_seconds: float | None


async def measure_audio(server: Server, seconds: float) -> AudioEcho:
    """Echo for `seconds`, lose one packet, echo for as long again (at least three seconds)."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    peer, track = RTCPeerConnection(RTCConfiguration(iceServers=[])), OpusTrack()
    returned: list[tuple[int, float]] = []
    try:
        peer.addTrack(track)
        (transceiver,) = peer.getTransceivers()
        peer.addTransceiver("video")  # the mediapod is about video; this line stays empty
        lose = _tap(transceiver, returned)
        await _connect(peer, server.url)
        await asyncio.sleep(SILENCE_BEFORE_SECONDS)
        track.begin.set()
        await asyncio.sleep(seconds)
        lose.set()
        lost_at = time.monotonic()
        await asyncio.sleep(max(3.0, seconds))
        return _judge(_latencies(track.sent, returned), lost_at)
    finally:
        await peer.close()


def _tap(transceiver: Any, returned: list[tuple[int, float]]) -> asyncio.Event:
    """Note what comes back; the event makes the next packet get lost."""
    lose, receiver, transport = asyncio.Event(), transceiver.receiver, transceiver.sender.transport
    handle, send = receiver._handle_rtp_packet, transport._send_rtp

    async def note(packet: Any, arrival_time_ms: int) -> None:
        returned.append((packet.timestamp, time.monotonic()))
        await handle(packet, arrival_time_ms=arrival_time_ms)

    async def send_most(data: bytes) -> None:
        if lose.is_set() and not 192 <= data[1] < 224:
            lose.clear()
            return
        await send(data)

    receiver._handle_rtp_packet, transport._send_rtp = note, send_most
    return lose


async def _connect(peer: RTCPeerConnection, url: str) -> None:
    await peer.setLocalDescription(await peer.createOffer())
    body = {"sdp": peer.localDescription.sdp, "type": "offer"}
    async with httpx.AsyncClient() as http:
        answer = (await http.post(f"{url}/webrtc/offer", json=body, timeout=20)).raise_for_status().json()
    await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    deadline = time.monotonic() + 20
    while peer.connectionState != "connected":
        if time.monotonic() > deadline:
            raise RuntimeError(f"audio does not connect: {peer.connectionState}")
        await asyncio.sleep(0.02)


def _latencies(sent: list[float], returned: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """(time of return, milliseconds), matched by RTP timestamp from the first packet on."""
    if not returned:
        return []
    first = returned[0][0]
    steps = [(round(((stamp - first) % (1 << 32)) / PACKET_TICKS), at) for stamp, at in returned]
    return [(at, (at - sent[step]) * 1000) for step, at in steps if 0 <= step < len(sent)]


def _judge(latencies: list[tuple[float, float]], lost_at: float) -> AudioEcho:
    before = [milliseconds for at, milliseconds in latencies if at < lost_at]
    after = [milliseconds for at, milliseconds in latencies if at > lost_at + 2]
    high = [at for at, milliseconds in latencies if at >= lost_at and milliseconds > RETURNED_MILLISECONDS]
    infinite = float("inf")
    after_p50 = percentile(after, 0.5) or infinite
    recovery = None if after_p50 > RETURNED_MILLISECONDS else (max(high) - lost_at if high else 0.0)
    return AudioEcho(percentile(before, 0.5) or infinite, percentile(before, 0.95) or infinite, after_p50, recovery)
