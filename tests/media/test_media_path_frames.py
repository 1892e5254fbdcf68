"""Frames come back processed, in time, with their RTP timestamps, and every one is accounted for."""

import asyncio
import time

import av
import numpy as np
import pytest
from aiortc import RTCRtpSender

from mediapod.engine import DeadlineExceeded, EffectError, Processed
from mediapod.frames.i420 import I420Frame
from mediapod.rtc.compat import PLAYOUT_DELAY_URI
from mediapod.rtc.keyframes import KeyframeRequests

pytestmark = pytest.mark.media


class StandIn:
    """An engine whose one step is a function."""

    device = "cpu"

    def __init__(self, step) -> None:
        self._step = step

    async def start(self) -> None:
        """Nothing to warm up."""

    async def stop(self) -> None:
        """Nothing to release."""

    def busy_seconds(self):
        """Never busy."""
        return {"cpu": 0.0}

    async def process(self, frame: I420Frame, deadline: float) -> Processed:
        """Run the step."""
        return Processed(await self._step(frame, deadline), "cpu", 0.0, 0.0)


async def _fail(frame, deadline):
    raise EffectError("boom", "Broken", "on purpose")


async def _crash(frame, deadline):
    raise ZeroDivisionError


async def _refuse(frame, deadline):
    raise DeadlineExceeded


def _slowly(seconds: float):
    lock = asyncio.Lock()

    async def step(frame, deadline):
        async with lock:
            await asyncio.sleep(seconds)
        return frame

    return step


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_frames_return_with_their_timestamps(serve, codec):
    server = await serve()
    client = server.client(codec)
    await client.connect()
    await client.wait_for(30)
    client.timestamp_offset()
    assert server.mediapod.registry.sessions[0].report().videoCodec == codec
    await client.close()
    await server.settle()
    assert server.results()["ok"] >= 30


@pytest.mark.parametrize(("width", "height"), [(320, 240), (322, 182)])
async def test_the_effect_is_seen_in_the_returned_picture(serve, width, height):
    brighter = {"name": "light", "effect": "ColorCorrection", "parameters": {"brightness": 0.3}}
    plain, bright = await serve(), await serve(MEDIAPOD_STAGES=[brighter])
    means = []
    for server in (plain, bright):
        client = server.client(width=width, height=height)
        await client.connect()
        await client.wait_for(15)
        picture = client.pictures[-1]
        assert (picture.width, picture.height) == (width, height)
        means.append(float(np.mean(picture.to_ndarray(format="gray"))))
    assert means[1] > means[0] + 30


async def test_h264_is_preferred_when_both_are_offered(serve):
    server = await serve()
    client = server.client()
    client.connection.getTransceivers()[0].setCodecPreferences(RTCRtpSender.getCapabilities("video").codecs)
    await client.connect()
    await client.wait_for(5)
    assert server.mediapod.registry.sessions[0].report().videoCodec == "H264"


async def test_a_frame_that_the_effect_refuses_comes_back_unprocessed_and_counts_as_error(serve):
    for step in (_fail, _crash):
        server = await serve(StandIn(step))
        client = server.client()
        await client.connect()
        await client.wait_for(10)
        await client.close()
        await server.settle()
        results = server.results()
        assert results["error"] >= 10
        assert results["ok"] == 0


async def test_late_frames_are_dropped_and_counted(serve, eventually):
    server = await serve(StandIn(_refuse))
    client = server.client()
    await client.connect()
    await eventually(lambda: server.results()["late"] >= 10, 60)
    assert not client.returned
    await client.close()
    await server.settle()


async def test_late_frames_are_bypassed_when_the_policy_says_so(serve):
    server = await serve(StandIn(_refuse), MEDIAPOD_LATE_POLICY="Bypass")
    client = server.client()
    await client.connect()
    await client.wait_for(10)
    await client.close()
    await server.settle()
    assert server.results()["bypassed"] >= 10
    assert server.metric("mediapod_frame_age_seconds_count") == 0


async def test_overload_supersedes_frames_instead_of_queueing_them(serve, eventually):
    service_seconds = 0.15
    server = await serve(StandIn(_slowly(service_seconds)), MEDIAPOD_FRAME_DEADLINE_MILLISECONDS=5000)
    client = server.client(frames_per_second=30)
    await client.connect()
    await client.wait_for(20)
    await eventually(lambda: server.results()["superseded"] >= 20, 60, lambda: str(server.results()))
    half = len(client.returned) // 2
    early, late = client.latencies[:half], client.latencies[half:]
    await client.close()
    await server.settle()
    # The age stays where it is: one frame in the engine, one waiting.
    assert sorted(late)[len(late) // 2] < sorted(early)[len(early) // 2] + 2 * service_seconds


async def test_the_simulated_device_takes_the_frames_of_all_sessions_in_turn(serve):
    server = await serve(
        MEDIAPOD_DEVICE="Simulated", MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS=40, MEDIAPOD_LATE_POLICY="Drop"
    )
    clients = [server.client(frames_per_second=20) for _ in range(2)]
    for client in clients:
        await client.connect()
    for client in clients:
        await client.wait_for(10)
    for client in clients:
        await client.close()
    await server.settle()
    results = server.results()
    assert results["late"] + results["superseded"] > 0  # 40 frames a second meet a device that does 25
    assert server.metric("mediapod_device_busy_seconds_total", device="cuda-simulated") > 0


async def test_every_stage_is_measured_for_every_returned_frame(serve):
    server = await serve()
    client = server.client()
    await client.connect()
    await client.wait_for(10)
    await client.close()
    await server.settle()
    ok = server.results()["ok"]
    for stage in ("jitter", "decode", "queue", "effect", "encode", "send"):
        assert server.metric("mediapod_frame_stage_seconds_count", stage=stage) >= ok
    assert server.metric("mediapod_frame_age_seconds_count") == ok


async def test_a_keyframe_request_of_the_peer_is_answered(serve):
    server = await serve(MEDIAPOD_FORWARD_UNCHANGED=False)  # a stock peer makes keyframes of its own, too
    client = server.client("VP8")
    receiver = client.connection.getTransceivers()[0].receiver
    keyframes: list[float] = []
    buffer = receiver._RTCRtpReceiver__jitter_buffer
    add = buffer.add

    def spy(packet):
        if packet.payload[:1] and packet._data[:1] and packet.payload[0] & 0x10 and not packet._data[0] & 1:
            keyframes.append(time.monotonic())
        return add(packet)

    buffer.add = spy
    await client.connect()
    await client.wait_for(10)
    (session,) = server.mediapod.registry.sessions
    # Wishes within half a second are one; here however much time this machine puts between the three.
    session.peer._video._wanted_of_us = KeyframeRequests(interval_seconds=3600)
    await client.wait_for(len(client.returned) + 5)  # those that were wanted before have come
    before = len(keyframes)
    for _ in range(3):
        await receiver._send_rtcp_pli(receiver.getSynchronizationSources()[0].source)
    await client.wait_for(len(client.returned) + 10)
    assert len(keyframes) == before + 1


async def test_offered_playout_delay_is_answered(serve):
    server = await serve()
    client = server.client()
    body = await client.offer()
    line = f"a=extmap:9 {PLAYOUT_DELAY_URI}\r\n"
    body["sdp"] = body["sdp"].replace("a=rtcp-mux\r\n", f"a=rtcp-mux\r\n{line}")
    response = await client.send(body)
    assert line in response.json()["sdp"]


async def test_opus_comes_back_as_it_was_sent(serve, eventually):
    server = await serve()
    client = server.client(audio=True)
    await client.connect()
    await client.wait_for(5)
    assert client.audio is not None
    assert client.audio.currentDirection == "sendrecv"
    await eventually(lambda: client.audio_packets >= 10, 60)


def _with_a_block(shade: int) -> av.VideoFrame:
    """A bright picture in whose middle a block changes."""
    y = np.full((240, 320), 200, np.uint8)
    y[96:144, 128:192] = shade
    picture = np.vstack([y, np.full((120, 320), 128, np.uint8)])
    return av.VideoFrame.from_ndarray(picture, format="yuv420p")


async def test_what_stands_still_gets_dark_and_what_moves_stays_light(serve, eventually):
    dim = {"name": "dim", "effect": "BackgroundDim", "parameters": {"strength": 1, "threshold": 32, "reach": 0}}
    server = await serve(MEDIAPOD_STAGES=[dim])
    client = server.client("VP8")
    client.connection.getTransceivers()[0].sender.track._pictures = [_with_a_block(shade) for shade in (230, 120)]
    await client.connect()

    def means() -> tuple[float, float]:
        luma = client.pictures[-1].to_ndarray(format="gray") if client.pictures else np.full((240, 320), 255)
        return float(luma[:80].mean()), float(luma[104:136, 136:184].mean())

    await eventually(lambda: means()[0] < 40 and means()[1] > 90, 60, lambda: str(means()))
