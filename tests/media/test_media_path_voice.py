"""A client that offers audio alone gets its Opus back, as one session."""

import asyncio

import httpx
import pytest
from aiortc import MediaStreamError, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

pytestmark = pytest.mark.media


async def listen(peer: RTCPeerConnection, heard: list[object]) -> None:
    """Collects what comes back."""
    (receiver,) = peer.getReceivers()
    try:
        while True:
            heard.append(await receiver.track.recv())
    except MediaStreamError:
        return


async def test_audio_alone_is_a_session_and_comes_back(serve, eventually):
    server = await serve()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        peer.addTrack(AudioStreamTrack())
        await peer.setLocalDescription(await peer.createOffer())
        body = {"sdp": peer.localDescription.sdp, "type": "offer"}
        async with httpx.AsyncClient() as http:
            answer = (await http.post(f"{server.url}/webrtc/offer", json=body, timeout=60)).raise_for_status().json()
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        heard: list[object] = []
        listening = asyncio.create_task(listen(peer, heard))
        await eventually(lambda: len(heard) > 20, 60, lambda: f"{len(heard)} audio frames came back")
        assert server.metric("mediapod_sessions") == 1
    finally:
        await peer.close()
    await listening
    await server.settle()
    assert server.metric("mediapod_frames_received_total") == 0
