"""The services that a user would write instead, for bench/media.py and bench/glass_to_glass.py.

    python bench/media_peers.py stock|bgr24|blur

`stock` echoes each track with aiortc 1.16 as it is; `bgr24` takes every picture to a NumPy array in BGR and back, as
most Python media frameworks do for their handlers; `blur` also blurs it there. All serve POST /webrtc/offer, and
POST /process for JPEGs, on a free port and print {"http_port": N} when they are ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

import aioice.ice
import av
import cv2
import numpy as np
import uvloop
from aiohttp import web
from aiortc import MediaStreamError, MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription


def blurred(picture: Any) -> Any:
    """GaussianBlur of radius 7, as OpenCV has it."""
    return cv2.GaussianBlur(picture, (15, 15), 0)


class Bgr24RoundTrip(MediaStreamTrack):
    """Each picture as a BGR array and back, which is what a handler on arrays costs before it does anything."""

    kind = "video"

    def __init__(self, source: MediaStreamTrack, blurs: bool) -> None:
        super().__init__()
        self._source, self._blurs = source, blurs

    async def recv(self) -> av.VideoFrame:
        """Return the next picture, converted twice, and blurred where that is wanted."""
        try:
            picture: Any = await self._source.recv()
        except MediaStreamError:
            self.stop()
            raise
        array = picture.to_ndarray(format="bgr24")
        array = blurred(array) if self._blurs else array
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
        as_it_is = self._kind == "stock" or track.kind != "video"
        return track if as_it_is else Bgr24RoundTrip(track, self._kind == "blur")

    async def process(self, request: web.Request) -> web.Response:
        """POST /process with a JPEG, in the handler, as it is usually written."""
        picture = cv2.imdecode(np.frombuffer(await request.read(), np.uint8), cv2.IMREAD_COLOR)
        _, encoded = cv2.imencode(".jpg", blurred(picture), [cv2.IMWRITE_JPEG_QUALITY, 90])
        return web.Response(body=encoded.tobytes(), content_type="image/jpeg")

    def _forget(self, peer: RTCPeerConnection) -> None:
        if peer.connectionState in ("closed", "failed"):
            self._peers.discard(peer)


async def _serve(kind: str) -> None:
    app, service = web.Application(client_max_size=16 << 20), EchoService(kind)
    app.router.add_post("/webrtc/offer", service.offer)
    app.router.add_post("/process", service.process)
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
    parser.add_argument("kind", choices=("stock", "bgr24", "blur"))
    kind = parser.parse_args().kind
    # aioice leaves loopback out; the benchmark runs nowhere else.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # stock code, but our event loop
        runner.run(_serve(kind))


if __name__ == "__main__":
    main()
