"""Encoders follow the rate without keyframes, and what is said of the colours survives decoder and encoder."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, unpack_header_extensions

from mediapod.frames.color_space import ColorSpace, as_extension, from_extension
from mediapod.frames.i420 import I420Frame
from mediapod.frames.ledger import FrameLedger, Result
from mediapod.rtc import compat
from mediapod.rtc.bitstream import Codec
from mediapod.rtc.decoder import DecodedPicture, EncodedPicture, _Decoder
from mediapod.rtc.encoders import LibvpxEncoder, X264Encoder

WIDTH, HEIGHT = 640, 360
BT709 = ColorSpace(1, 13, 1, full_range=False)


class NoMeter:
    def frame_received(self) -> None: ...

    def frame_ended(self, result: Result) -> None: ...

    def frame_age(self, seconds: float) -> None: ...

    def stage(self, stage: object, seconds: float) -> None: ...


def moving(number: int) -> I420Frame:
    """A picture with detail that the one before does not have, so that the rate is needed."""
    coarse = np.random.default_rng(number).integers(16, 235, (HEIGHT // 4, WIDTH // 4), dtype=np.uint8)
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return I420Frame(np.kron(coarse, np.ones((4, 4), np.uint8)), chroma, chroma)


def test_x264_follows_the_rate_up_and_down_without_a_keyframe():
    encoder, sizes, keyframes = X264Encoder(), [], []
    for number in range(120):
        if number in (40, 80):
            encoder.limit(150_000 if number == 40 else 10_000_000)
        packet = encoder.encode(moving(number), number * 3000, keyframe=number == 0)
        sizes.append(packet.size)
        keyframes += [number] if packet.is_keyframe else []
    assert keyframes == [0]
    high, low, again = (sum(sizes[start : start + 20]) for start in (20, 60, 100))
    assert low < 0.7 * high
    assert again > 1.4 * low
    assert sum(sizes[60:80]) * 8 / (20 / 30) < 2 * 150_000


def test_libvpx_is_rebuilt_for_large_and_rare_changes_alone(monkeypatch):
    now = 100.0
    monkeypatch.setattr("mediapod.rtc.encoders.time.monotonic", lambda: now)
    encoder, keyframes = LibvpxEncoder(), []
    for number in range(40):
        now += 0.2
        encoder.limit(100_000 if number % 2 else 10_000_000)  # a peer that changes its mind with each report
        packet = encoder.encode(moving(number), number * 3000, keyframe=False)
        keyframes += [number] if packet.is_keyframe else []
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(keyframes)), keyframes
    assert len(keyframes) > 1


def full_range_stream(more: str = ":colormatrix=bt709") -> bytes:
    """An H.264 keyframe of grey 128 in full range, as screens and canvases are sent."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
    context.time_base = Fraction(1, 30)
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": f"fullrange=on{more}"}
    picture = av.VideoFrame(WIDTH, HEIGHT, "yuvj420p")
    for plane, value in zip(picture.planes, (128, 60, 200), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    (packet,) = context.encode(picture)
    return bytes(packet)


def decoded(data: bytes, said: ColorSpace | None = None, codec: Codec = Codec.H264) -> DecodedPicture:
    ticket = FrameLedger(NoMeter()).receive(0.0, 0)
    (picture,) = _Decoder().decode(EncodedPicture(codec, data, ticket, said))
    return picture


def test_a_stream_of_full_range_becomes_a_picture_of_limited_range():
    picture = decoded(full_range_stream())
    assert abs(int(picture.frame.y[50, 50]) - 126) <= 1  # 16 + 128 * 219 / 255
    assert abs(int(picture.frame.u[30, 30]) - 68) <= 1  # 128 - 68 * 224 / 255
    assert abs(int(picture.frame.v[30, 30]) - 191) <= 1
    assert picture.color_space is not None
    assert (picture.color_space.matrix, picture.color_space.full_range) == (1, False)


def test_a_stream_that_says_nothing_but_its_range_says_nothing_afterwards():
    picture = decoded(full_range_stream(""))
    assert abs(int(picture.frame.y[50, 50]) - 126) <= 1
    assert picture.color_space is None


def test_what_is_said_beside_the_stream_counts_more_than_what_it_says_itself():
    picture = decoded(full_range_stream(), BT709)
    assert abs(int(picture.frame.y[50, 50]) - 128) <= 1
    assert picture.color_space == BT709


@pytest.mark.parametrize("encoder", [X264Encoder(), LibvpxEncoder()])
def test_a_stream_that_says_nothing_is_taken_as_it_is(encoder):
    frame = moving(0)
    codec = Codec.H264 if isinstance(encoder, X264Encoder) else Codec.VP8
    picture = decoded(bytes(encoder.encode(frame, 0, keyframe=True)), codec=codec)
    assert picture.color_space is None
    assert abs(float(picture.frame.y.mean()) - float(frame.y.mean())) < 4


def test_x264_says_what_it_is_told_and_begins_anew_when_that_changes():
    encoder = X264Encoder()
    encoder.color_space = BT709
    found = [decoded(bytes(encoder.encode(moving(0), 0, keyframe=True))).color_space]
    encoder.color_space = ColorSpace(6, 6, 6, full_range=False)
    packet = encoder.encode(moving(1), 3000, keyframe=False)
    assert packet.is_keyframe
    found.append(decoded(bytes(packet)).color_space)
    assert found == [BT709, encoder.color_space]
    assert not encoder.encode(moving(2), 6000, keyframe=False).is_keyframe


@pytest.mark.parametrize("full_range", [True, False])
def test_the_header_extension_is_read_as_it_is_written(full_range):
    space = ColorSpace(9, 16, 9, full_range)
    assert from_extension(as_extension(space)) == space
    assert from_extension(as_extension(space) + bytes(24)) == space, "high dynamic range behind it"
    assert from_extension(b"\x01\x01\x01") is None


def parameters(**ids: int) -> RTCRtpParameters:
    uris = {"mid": compat.MID_URI, "delay": compat.PLAYOUT_DELAY_URI, "colours": compat.COLOR_SPACE_URI}
    return RTCRtpParameters(
        headerExtensions=[RTCRtpHeaderExtensionParameters(id=number, uri=uris[name]) for name, number in ids.items()]
    )


def test_packets_carry_what_was_negotiated_and_is_known():
    said = [None, as_extension(BT709)]
    writer = compat._HeaderExtensionWriter(lambda: said[-1])
    writer.configure(parameters(mid=1, delay=5, colours=9))
    assert dict(unpack_header_extensions(*writer.set(HeaderExtensions(mid="0")))) == {
        1: b"0",
        5: b"\x00\x00\x00",
        9: bytes([1, 13, 1, 0x10]),
    }
    said.append(None)
    assert dict(unpack_header_extensions(*writer.set(HeaderExtensions(mid="0")))) == {1: b"0", 5: b"\x00\x00\x00"}
    writer.configure(parameters(mid=1))
    assert dict(unpack_header_extensions(*writer.set(HeaderExtensions(mid="0")))) == {1: b"0"}


def test_the_color_space_of_a_packet_is_read_and_a_damaged_extension_is_a_damaged_packet():
    reader, writer = compat._HeaderExtensionReader(), compat._HeaderExtensionWriter(lambda: as_extension(BT709))
    reader.configure(parameters(mid=1, colours=9))
    writer.configure(parameters(mid=1, colours=9))
    found = reader.get(*writer.set(HeaderExtensions(mid="0")))
    assert (found.mid, vars(found)["color_space"]) == ("0", as_extension(BT709))
    send_time = RTCRtpHeaderExtensionParameters(id=3, uri=compat.ABS_SEND_TIME_URI)
    reader.configure(RTCRtpParameters(headerExtensions=[send_time]))
    with pytest.raises(ValueError, match="damaged"):
        reader.get(0xBEDE, bytes([0x30, 1, 0, 0]))
