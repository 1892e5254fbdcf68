"""Frames come back processed, in time, with their RTP timestamps, and every one is accounted for."""

import pytest

pytestmark = pytest.mark.media


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_frames_return_with_their_timestamps(serve, codec):
    server = await serve(MEDIAPOD_STAGES=[{"name": "move", "effect": "Translate", "parameters": {"x": 16}}])
    client = server.client(codec)
    await client.connect()
    await client.wait_for(30)
    client.timestamp_offset()
    assert server.mediapod.registry.sessions[0].report().videoCodec == codec
    assert client.pictures
    await client.close()
    await server.settle()
    assert server.results()["ok"] >= 30
