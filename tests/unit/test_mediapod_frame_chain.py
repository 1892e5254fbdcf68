"""Queues of encoded frames drop to the next keyframe; unchanged pictures take the short cut while they can."""

import asyncio
import contextlib

import pytest
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder

from mediapod.frames.ledger import FrameLedger, Result
from mediapod.rtc.bitstream import Codec, starts_frame
from mediapod.rtc.chain import FrameChain
from mediapod.rtc.decoder import EncodedPicture
from mediapod.rtc.forward import Forwarder
from mediapod.rtc.keyframes import KeyframeRequests

KEY, DELTA = b"\x00" * 200, b"\x01" * 200


class Silent:
    """A meter that forgets."""

    def frame_received(self) -> None: ...
    def frame_ended(self, result: Result) -> None: ...
    def frame_age(self, seconds: float) -> None: ...
    def stage(self, stage, seconds: float) -> None: ...


def pictures(ledger: FrameLedger, *datas: bytes, codec: Codec = Codec.VP8) -> list[EncodedPicture]:
    return [EncodedPicture(codec, data, ledger.receive(0.0, index * 3000)) for index, data in enumerate(datas)]


def test_one_frame_too_many_drops_all_up_to_the_next_keyframe():
    chain, ledger = FrameChain(2), FrameLedger(Silent())
    first, second, third, fourth, fifth = pictures(ledger, KEY, DELTA, DELTA, DELTA, KEY)
    assert chain.push(first) == chain.push(second) == []
    assert chain.push(third) == [first, second, third]
    assert chain.push(fourth) == [fourth]
    assert chain.push(fifth) == []
    assert chain.pop() is fifth
    assert len(chain) == 0


async def test_forwarded_frames_come_out_in_order_and_what_is_left_counts_as_superseded():
    ledger, trouble = FrameLedger(Silent()), []
    forwarder = Forwarder(True, lambda: trouble.append(1))
    sent = pictures(ledger, KEY, DELTA, DELTA)
    assert all(forwarder.put(picture, 0.0) for picture in sent)
    assert await forwarder.get(Codec.VP8) is sent[0]
    assert await forwarder.get(Codec.VP8) is sent[1]
    forwarder.close()
    assert await forwarder.get(Codec.VP8) is None
    assert ledger.results == {Result.SUPERSEDED: 1}
    assert not trouble


async def test_a_waiting_sender_hears_of_the_end():
    forwarder = Forwarder(True, lambda: None)
    waiting = asyncio.ensure_future(forwarder.get(Codec.VP8))
    await asyncio.sleep(0)
    forwarder.close()
    assert await asyncio.wait_for(waiting, 60) is None


async def test_another_codec_than_is_wanted_ends_the_short_cut_for_good():
    ledger, trouble = FrameLedger(Silent()), []
    forwarder = Forwarder(True, lambda: trouble.append(1))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(forwarder.get(Codec.H264), 0.01)
    (picture,) = pictures(ledger, KEY)
    assert forwarder.put(picture, 0.0) is False
    assert (forwarder.active, trouble) == (False, [1])
    assert not ledger.results  # it is decoded instead


@pytest.mark.parametrize(("limit", "goes_on"), [(50_000, True), (30_000, False)])
async def test_a_peer_that_can_take_less_than_it_sends_gets_an_encoder(limit, goes_on):
    ledger = FrameLedger(Silent())
    forwarder = Forwarder(True, lambda: None)
    forwarder.limit(limit)
    for index in range(90):  # 30 fps of 200 bytes: 48 kb/s
        (picture,) = pictures(ledger, KEY)
        forwarder.put(picture, index / 30)
        if forwarder.active:
            await forwarder.get(Codec.VP8)
    assert forwarder.active is goes_on


async def test_a_sender_that_stalls_bounds_the_short_cut_and_a_keyframe_is_asked_for():
    ledger, trouble = FrameLedger(Silent()), []
    forwarder = Forwarder(True, lambda: trouble.append(1))
    for picture in pictures(ledger, KEY, *[DELTA] * 99):
        forwarder.put(picture, 0.0)
    assert ledger.results == {Result.SUPERSEDED: 100}
    assert trouble


def test_keyframe_requests_within_half_a_second_are_one():
    requests = KeyframeRequests()
    asked = 0
    for index in range(200):  # two seconds of a browser that asks every 10 ms
        requests.want()
        if requests.due(index / 100):
            asked += 1
    assert asked == 4


@pytest.mark.parametrize("size", [40, 900, 5000])
def test_the_first_packet_of_a_vp8_frame_is_known(size):
    packets = Vp8Encoder._packetize(bytes(size), 7)
    assert [starts_frame(Codec.VP8, packet) for packet in packets] == [True] + [False] * (len(packets) - 1)


@pytest.mark.parametrize("size", [40, 900, 5000])
@pytest.mark.parametrize("header", [0x65, 0x41])
def test_the_first_packet_of_an_h264_frame_is_known(size, header):
    first_slice = bytes([header, 0x88]) + bytes(size)
    packets = H264Encoder._packetize(iter([first_slice]))
    assert [starts_frame(Codec.H264, packet) for packet in packets] == [True] + [False] * (len(packets) - 1)
    second_slice = bytes([header, 0x40]) + bytes(size)
    assert not any(starts_frame(Codec.H264, packet) for packet in H264Encoder._packetize(iter([second_slice])))


def test_parameter_sets_start_a_frame_and_scraps_do_not():
    assert starts_frame(Codec.H264, bytes([0x67, 1, 2]))
    assert starts_frame(Codec.H264, bytes([0x78, 0, 2, 0x67, 1]))
    for scrap in (b"", b"\x65", b"\x7c\x85"):
        assert not starts_frame(Codec.H264, scrap)
        assert not starts_frame(Codec.VP8, scrap)
