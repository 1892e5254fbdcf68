"""The two services that a user would write instead, for bench/media.py and bench/glass_to_glass.py.

    python bench/media_peers.py stock|bgr24

`stock` echoes each track with aiortc 1.16 as it is; `bgr24` takes every picture to a NumPy array in BGR and back, as
most Python media frameworks do for their handlers. Both serve POST /webrtc/offer on a free port and print
{"http_port": N} when they are ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

import aioice.ice
import av
import uvloop
from aiohttp import web
from aiortc import MediaStreamError, MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription


class Bgr24RoundTrip(MediaStreamTrack):
    """Each picture as a BGR array and back, which is what a handler on arrays costs before it does anything."""

    kind = "video"

    def __init__(self, source: MediaStreamTrack) -> None:
        super().__init__()
        self._source = source

    async def recv(self) -> av.VideoFrame:
        """Return the next picture, unchanged but converted twice."""
        try:
            picture: Any = await self._source.recv()
        except MediaStreamError:
            self.stop()
            raise
        array = picture.to_ndarray(format="bgr24")
        back = av.VideoFrame.from_ndarray(array, format="bgr24")
        back.pts, back.time_base = picture.pts, picture.time_base
        return back


class EchoService:
    """Answers offers and sends every track back."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._peers: set[RTCPeerConnection] = set()

    async def offer(self, request: web.Request) -> web.Response:
        """POST /webrtc/offer, as the mediapod has it."""
        body = await request.json()
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peers.add(peer)
        peer.on("connectionstatechange", lambda: self._forget(peer))
        peer.on("track", lambda track: peer.addTrack(self._changed(track)))
        await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        await peer.setLocalDescription(await peer.createAnswer())
        answer = {"sdp": peer.localDescription.sdp, "type": "answer", "sessionId": str(id(peer))}
        return web.json_response(answer)

    def _changed(self, track: MediaStreamTrack) -> MediaStreamTrack:
        return Bgr24RoundTrip(track) if self._kind == "bgr24" and track.kind == "video" else track

    def _forget(self, peer: RTCPeerConnection) -> None:
        if peer.connectionState in ("closed", "failed"):
            self._peers.discard(peer)


async def _serve(kind: str) -> None:
    app = web.Application()
    app.router.add_post("/webrtc/offer", EchoService(kind).offer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(json.dumps({"http_port": runner.addresses[0][1]}) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the benchmark is over
    await runner.cleanup()


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("stock", "bgr24"))
    kind = parser.parse_args().kind
    # aioice leaves loopback out; the benchmark runs nowhere else.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # stock code, but our event loop
        runner.run(_serve(kind))


if __name__ == "__main__":
    main()
