"""Loss, other sizes, other offers, overload, and clients that vanish: what the world does to the data path."""

import asyncio
import time

import av
import httpx
import numpy as np
import pytest

from mediapod.frames.i420 import I420Frame
from mediapod.rtc.connection import SILENT_SECONDS
from mediapod.rtc.encoders import X264Encoder
from mediapod.rtc.jitter import MarkerJitterBuffer

pytestmark = pytest.mark.media


def lose(client, every: int) -> set[int]:
    """Lose one RTP packet in `every` on the way to the service, retransmissions too; returns the frames it hit."""
    transport = client.connection.getTransceivers()[0].sender.transport
    send, count, hit = transport._send_rtp, 0, set()

    async def send_most(data: bytes) -> None:
        nonlocal count
        if not 192 <= data[1] <= 223:
            count += 1
            if count % every == 0:
                hit.add(int.from_bytes(data[4:8]))
                return
        await send(data)

    transport._send_rtp = send_most
    return hit


def picture(width: int, height: int, shade: int) -> av.VideoFrame:
    """A plain picture of any size."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, value in zip(frame.planes, (shade, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame


def show(client, pictures: list[av.VideoFrame]) -> None:
    """Let the client's camera take these pictures from now on."""
    client.connection.getTransceivers()[0].sender.track._pictures = pictures


async def session_report(server) -> dict[str, object]:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{server.admin_url}/sessions")).json()["sessions"][0]


@pytest.mark.parametrize(("codec", "forward"), [("H264", False), ("VP8", False), ("VP8", True)])
async def test_lost_packets_are_asked_for_again_and_the_picture_goes_on(
    serve, eventually, unlimited, monkeypatch, codec, forward
):
    # A frame is given up when its packet does not come in time, and on a busy machine it comes later.
    monkeypatch.setattr("mediapod.rtc.video.MarkerJitterBuffer", lambda: MarkerJitterBuffer(wait_seconds=1))
    server = await serve(MEDIAPOD_FORWARD_UNCHANGED=forward)
    client = server.client(codec, 640, 360, 30)
    hit = lose(client, 20)
    await client.connect()
    await eventually(lambda: len(hit) >= 10 and len(client.returned) >= 60, 60, lambda: f"{len(hit)} frames hit")
    camera = client.connection.getTransceivers()[0].sender.track
    camera.pause()
    await eventually(lambda: len(client.sent) >= camera.count - 1, 60)

    def received() -> float:
        return server.metric("mediapod_frames_received_total")

    # Without retransmission every frame that was hit is missing; some are given up, after the last ones comes nothing
    # that would show that they are lost.
    least = camera.count - 0.6 * len(hit) - 2
    await eventually(
        lambda: received() >= least, 30, lambda: f"{received()} of {camera.count} received, {len(hit)} lost a packet"
    )
    await client.close()
    await server.settle()


@pytest.mark.parametrize(("codec", "forward"), [("H264", False), ("VP8", False), ("H264", True)])
async def test_the_size_may_change_in_mid_stream(serve, eventually, codec, forward):
    server = await serve(MEDIAPOD_FORWARD_UNCHANGED=forward)
    client = server.client(codec, 320, 240, 20)
    await client.connect()
    await client.wait_for(10)
    for width, height in ((640, 360), (240, 426), (320, 240)):
        show(client, [picture(width, height, 90)])
        await eventually(
            lambda size=(width, height): any((p.width, p.height) == size for p in client.pictures[-5:]),
            60,
            lambda: str([(p.width, p.height) for p in client.pictures[-5:]]),
        )
    await client.close()
    await server.settle()
    assert server.results()["error"] <= 2


@pytest.mark.parametrize(
    ("codec", "width", "height"),
    [("H264", 1920, 1080), ("VP8", 1080, 1920), ("H264", 360, 640), ("VP8", 321, 181), ("H264", 322, 182)],
)
async def test_large_portrait_and_odd_sizes_come_back_as_they_went(serve, eventually, codec, width, height):
    server = await serve(MEDIAPOD_FORWARD_UNCHANGED=False, MEDIAPOD_FRAME_DEADLINE_MILLISECONDS=5000)
    client = server.client(codec, frames_per_second=5)
    show(client, [picture(width, height, shade) for shade in (60, 120)])
    await client.connect()
    await eventually(lambda: len(client.pictures) >= 3, 90, lambda: str(server.results()))
    assert {(p.width, p.height) for p in client.pictures} == {(width, height)}
    report = await session_report(server)
    assert (report["width"], report["height"]) == (width, height)


async def test_unchanged_pictures_go_back_undecoded_with_a_full_account(serve, eventually, unlimited):
    server = await serve(MEDIAPOD_STAGES=[{"name": "as-it-is", "effect": "Passthrough", "parameters": {}}])
    client = server.client("VP8", 640, 360, 25)
    await client.connect()
    await client.wait_for(30)
    report = await session_report(server)
    assert (report["forwarded"], report["width"]) == (True, None)
    await eventually(lambda: len(client.pictures) > 5, 60)
    await client.close()
    await server.settle()
    ok = server.results()["ok"]
    assert ok >= 30
    for stage in ("jitter", "decode", "queue", "effect", "encode", "send"):
        assert server.metric("mediapod_frame_stage_seconds_count", stage=stage) >= ok
    assert server.metric("mediapod_frame_age_seconds_count") == ok


async def test_a_pipeline_that_changes_something_and_a_simulated_device_are_never_bypassed(serve):
    grey = {"name": "grey", "effect": "Grayscale", "parameters": {}}
    for environment in (
        {"MEDIAPOD_STAGES": [grey]},
        {"MEDIAPOD_DEVICE": "Simulated", "MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS": 1},
    ):
        server = await serve(**environment)
        client = server.client()
        await client.connect()
        await client.wait_for(5)
        assert (await session_report(server))["forwarded"] is False


async def test_a_session_reports_how_it_is_doing(serve, eventually):
    server = await serve(MEDIAPOD_FORWARD_UNCHANGED=False)
    client = server.client(frames_per_second=20, audio=True)
    await client.connect()
    await client.wait_for(60)
    (session,) = server.mediapod.registry.sessions

    def flows() -> bool:
        now = session.report()
        return min(now.receivedFramesPerSecond, now.sentFramesPerSecond) > 5 and now.silentSeconds < 1

    await eventually(flows, 60, lambda: str(session.report()))  # of the last seconds, in which this machine may stall
    report = await session_report(server)
    assert report["videoCodec"] == "H264"
    assert (report["width"], report["height"], report["forwarded"]) == (320, 240, False)
    assert report.keys() >= {"receivedFramesPerSecond", "sentFramesPerSecond", "silentSeconds"}
    assert 0 < report["frameAgeP50Seconds"] <= report["frameAgeP95Seconds"]
    assert report["audioPacketsLost"] == 0
    assert 0 <= report["missedShare"] <= 1


async def test_frames_that_the_device_cannot_do_are_shed_and_the_rate_recovers(serve, eventually):
    """Twelve frames a second for a device that does five; a deadline that only a queue could miss."""
    server = await serve(
        MEDIAPOD_DEVICE="Simulated",
        MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS=200,
        MEDIAPOD_FRAME_DEADLINE_MILLISECONDS=2000,
    )
    client = server.client(frames_per_second=12)
    await client.connect()
    await eventually(lambda: server.mediapod.registry.sessions and server.results()["ok"] > 0, 60)
    (session,) = server.mediapod.registry.sessions
    await eventually(lambda: session.report().frameRateCap is not None, 60, lambda: str(session.report()))
    await eventually(lambda: server.results()["shed"] >= 10, 60, lambda: str(server.results()))
    server.mediapod.engine._slots._service_time_seconds = 0.001
    await eventually(lambda: session.report().frameRateCap is None, 60, lambda: str(session.report()))
    await client.close()
    await server.settle()


class SlowEncoder(X264Encoder):
    """Takes 90 ms."""

    def encode(self, frame: I420Frame, timestamp: int, keyframe: bool):
        """Dawdle, then encode."""
        time.sleep(0.09)
        return super().encode(frame, timestamp, keyframe)


async def test_a_frame_that_became_late_while_it_waited_for_the_encoder_is_not_sent(serve, eventually, monkeypatch):
    monkeypatch.setattr("mediapod.rtc.video.open_encoder", lambda codec: SlowEncoder())
    server = await serve(MEDIAPOD_FORWARD_UNCHANGED=False, MEDIAPOD_FRAME_DEADLINE_MILLISECONDS=100)
    clients = [server.client(frames_per_second=15) for _ in range(5)]  # two encoder threads for five sessions
    for client in clients:
        await client.connect()
    await eventually(lambda: server.results()["late"] >= 5, 60, lambda: str(server.results()))
    for client in clients:
        await client.close()
    await server.settle()


async def test_a_killed_client_gives_its_place_back_within_seconds(serve, eventually, monkeypatch):
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 10**6)  # consent takes 25 to 30 s; here it does not help at all
    assert SILENT_SECONDS < 15
    server = await serve()  # SESSION_TIMEOUT is five minutes
    client = server.client()
    await client.connect()
    await client.wait_for(10)
    client.vanish()
    await eventually(lambda: not server.mediapod.registry.sessions, 60)
    assert server.metric("mediapod_sessions_ended_total", reason="PeerLost") == 1
    await server.settle()


async def test_a_client_that_mutes_its_camera_keeps_its_place(serve):
    server = await serve()
    client = server.client()
    await client.connect()
    await client.wait_for(10)
    client.connection.getTransceivers()[0].sender.replaceTrack(None)
    await asyncio.sleep(10)
    (session,) = server.mediapod.registry.sessions
    assert session.report().silentSeconds < 8


class Lags(list[float]):
    """Stay what they are, however long the rest takes."""

    def append(self, lag: float) -> None:
        """What is measured does not count."""


async def test_a_loaded_pod_lets_nobody_in_but_the_first(serve):
    server = await serve(MEDIAPOD_ADMISSION_LOOP_LAG_MILLISECONDS=50)
    server.mediapod._watchdog._lags = Lags([0.2] * 30)
    first, second = server.client(), server.client()
    await first.connect()
    refused = await second.post()
    assert refused.status_code == 503
    assert "MEDIAPOD_ADMISSION_LOOP_LAG_MILLISECONDS" in refused.json()["detail"]
    assert server.metric("mediapod_offers_total", result="rejected_capacity") == 1


async def test_effects_see_the_picture_that_was_sent(serve, eventually):
    server = await serve(MEDIAPOD_STAGES=[{"name": "grey", "effect": "Grayscale", "parameters": {}}])
    client = server.client("VP8", frames_per_second=10)
    colourful = picture(320, 240, 120)
    colourful.planes[1].update(bytes([40]) * colourful.planes[1].buffer_size)
    show(client, [colourful])
    await client.connect()
    await eventually(lambda: len(client.pictures) >= 3, 60)
    planes = client.pictures[-1].to_ndarray()
    assert abs(float(np.mean(planes[240:])) - 128) < 4
