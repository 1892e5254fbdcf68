"""Hostile packets, one by one and in streams: no exception gets out, every frame ends, memory stays bounded."""

import asyncio
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport, RTCRtpReceiver
from aiortc.codecs import CODECS
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from hypothesis import given, settings
from hypothesis import strategies as st

from mediapod.engine.cpu import CpuEngine
from mediapod.frames.i420 import I420Frame
from mediapod.frames.ledger import FrameLedger, Result
from mediapod.rtc import compat
from mediapod.rtc.bitstream import Codec
from mediapod.rtc.decoder import EncodedPicture, _Decoder
from mediapod.rtc.encoders import open_encoder
from mediapod.rtc.jitter import CAPACITY_PACKETS
from mediapod.rtc.video import FramePolicy, LatePolicy, VideoPath

CORPUS = {
    name: bytes.fromhex(data)
    for name, data in (
        line.split(":", 1)
        for line in (Path(__file__).parent / "corpus" / "packets.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
}
TYPES = {Codec.VP8: 97, Codec.H264: 99}


class NoMeter:
    def frame_received(self) -> None: ...

    def frame_ended(self, result: Result) -> None: ...

    def frame_age(self, seconds: float) -> None: ...

    def stage(self, stage: object, seconds: float) -> None: ...


class Receiving:
    """A receiver of aiortc's, taken over, before a video path with a real decoder."""

    def __init__(self) -> None:
        gatherer = RTCIceGatherer(iceServers=[])
        self.transport = RTCDtlsTransport(RTCIceTransport(gatherer), [RTCCertificate.generateCertificate()])
        self.receiver = RTCRtpReceiver("video", self.transport)
        self.ledger = FrameLedger(NoMeter())
        self.engine = CpuEngine([], workers=1)
        self.pool = ThreadPoolExecutor(1)
        policy = FramePolicy(1.0, LatePolicy.DROP)
        self.path = VideoPath(self.ledger, self.engine, policy, self.pool)
        compat.take_over_receiver(self.receiver, self.path.on_packet, lambda: None)

    async def __aenter__(self) -> "Receiving":
        await self.engine.start()
        self.path.start()
        await self.receiver.receive(RTCRtpReceiveParameters(codecs=CODECS["video"], muxId="0"))
        return self

    async def take(self, datagram: bytes) -> None:
        """A decrypted datagram, as the DTLS transport hands it on."""
        await self.transport._handle_rtp_data(datagram, arrival_time_ms=0)

    async def decoded(self) -> None:
        """Wait until the decoder's thread has nothing left."""
        while self.path._decoder._queue:  # noqa: ASYNC110  the decoder's thread knows no event loop
            await asyncio.sleep(0.002)

    async def __aexit__(self, *_: object) -> None:
        await self.receiver.stop()
        await self.path.close()
        self.ledger.close()
        await self.engine.stop()
        self.pool.shutdown()


def rtp(codec: Codec, sequence: int, timestamp: int, payload: bytes, marker: bool, source: int = 170) -> bytes:
    kind = TYPES[codec] | (128 if marker else 0)
    return struct.pack("!BBHLL", 128, kind, sequence % 65536, timestamp, source) + payload


def stream(codec: Codec, frames: int = 6) -> list[bytes]:
    """The datagrams of a real, short stream."""
    random, encoder = np.random.default_rng(7), open_encoder(codec)
    packer = H264Encoder() if codec is Codec.H264 else Vp8Encoder()
    datagrams: list[bytes] = []
    for number in range(frames):
        luma = random.integers(0, 256, (90, 160), dtype=np.uint8)
        chroma = np.full((45, 80), 128, np.uint8)
        packet = encoder.encode(I420Frame(luma, chroma, chroma), number * 3000, keyframe=number == 0)
        payloads, _ = packer.pack(packet)
        for index, payload in enumerate(payloads):
            last = index == len(payloads) - 1
            datagrams.append(rtp(codec, len(datagrams), number * 3000, payload, last))
    return datagrams


STREAMS = {codec: stream(codec) for codec in Codec}


@pytest.mark.parametrize("name", CORPUS)
async def test_a_hostile_packet_is_swallowed_and_the_stream_goes_on(name):
    async with Receiving() as receiving:
        await receiving.take(CORPUS[name])
        codec = Codec.H264 if CORPUS[name][1] & 127 == TYPES[Codec.H264] else Codec.VP8
        for datagram in STREAMS[codec]:
            shifted = struct.pack("!H", (int.from_bytes(datagram[2:4]) + 2) % 65536)
            await receiving.take(datagram[:2] + shifted + datagram[4:])
        await receiving.decoded()
        assert receiving.ledger.received >= 5
    assert receiving.ledger.under_way == 0
    assert sum(receiving.ledger.results.values()) == receiving.ledger.received


def mutated(datagrams: list[bytes], changes: list[tuple[int, int, int, int]]) -> list[bytes]:
    """Change (which, what, where, to): flip a byte, cut off, double, drop, exchange with the next."""
    result = list(datagrams)
    for which, what, where, to in changes:
        index = which % len(result)
        one = result[index]
        if what == 0 and one:
            position = where % len(one)
            result[index] = one[:position] + bytes([to]) + one[position + 1 :]
        elif what == 1:
            result[index] = one[: where % (len(one) + 1)]
        elif what == 2:
            result.insert(index, one)
        elif what == 3 and len(result) > 1:
            del result[index]
        else:
            other = (index + 1) % len(result)
            result[index], result[other] = result[other], result[index]
    return result


CHANGES = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 4), st.integers(0, 1500), st.integers(0, 255)),
    min_size=1,
    max_size=25,
)


@pytest.mark.parametrize("codec", list(Codec))
@settings(max_examples=20, deadline=None)
@given(changes=CHANGES, forward=st.booleans())
def test_damaged_streams_end_in_a_full_account(codec, changes, forward):
    async def run() -> None:
        async with Receiving() as receiving:
            receiving.path._forwarder.active = forward
            for datagram in mutated(STREAMS[codec], changes):
                await receiving.take(datagram)
                assert len(receiving.path._jitter) <= CAPACITY_PACKETS
            await receiving.decoded()
        assert receiving.ledger.under_way == 0
        assert sum(receiving.ledger.results.values()) == receiving.ledger.received

    asyncio.run(run())


@settings(max_examples=50, deadline=None)
@given(datagrams=st.lists(st.binary(max_size=60), max_size=20), codec=st.sampled_from(list(Codec)))
def test_any_bytes_behind_a_header_are_taken(datagrams, codec):
    async def run() -> None:
        async with Receiving() as receiving:
            for number, payload in enumerate(datagrams):
                await receiving.take(rtp(codec, number, number // 3 * 3000, payload, number % 3 == 2))
            await receiving.decoded()
        assert receiving.ledger.under_way == 0

    asyncio.run(run())


async def test_invented_sources_cost_nothing_and_reports_go_on():
    async with Receiving() as receiving:
        for source in range(3000):
            await receiving.take(rtp(Codec.VP8, source, 0, b"\x10\x00\x00", marker=True, source=source))
        assert len(receiving.transport._rtp_router.ssrc_table) <= compat.MOST_SOURCES
        assert len(compat._private(receiving.receiver, "remote_streams")) <= compat.MOST_SOURCES < 32


@pytest.mark.parametrize("codec", list(Codec))
def test_a_picture_that_is_too_large_is_refused_before_its_memory_is_taken(codec):
    if codec is Codec.VP8:
        data = bytes([0x10, 2, 0]) + b"\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(40)
    else:
        encoder = open_encoder(codec)
        grey = np.full((1090, 1922), 90, np.uint8)
        data = bytes(encoder.encode(I420Frame(grey, grey[::2, ::2], grey[::2, ::2]), 0, keyframe=True))
    ledger = FrameLedger(NoMeter())
    decoder = _Decoder()
    with pytest.raises(av.FFmpegError):  # libav's own: ours would come when the picture is there
        decoder.decode(EncodedPicture(codec, data, ledger.receive(0.0, 0)))
