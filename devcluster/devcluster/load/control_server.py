"""A plain aiortc echo server: what the checks are checked against.

It decodes, applies a function to each picture (nothing, or a blur by OpenCV) and encodes again, all with stock aiortc;
it refuses offers and closes sessions when told to. It is no part of the product's service.
"""

import asyncio
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, cast

import av
import cv2
import numpy as np
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from devcluster.load import compat

Picture = NDArray[np.uint8]
Change = Callable[[Picture], Picture]
"""From an RGB picture to the one that is sent back."""


def gaussian_blur(radius: int) -> Change:
    """A blur with a window of 2 * radius + 1 pixels."""

    def blur(picture: Picture) -> Picture:
        return cast(Picture, cv2.GaussianBlur(picture, (2 * radius + 1, 2 * radius + 1), 0))

    return blur


class _ChangedTrack(MediaStreamTrack):
    """The received track with each picture changed; decoded pictures keep their timestamps."""

    kind = "video"

    def __init__(self, source: MediaStreamTrack, change: Change | None) -> None:
        super().__init__()
        self._source = source
        self._change = change

    async def recv(self) -> av.VideoFrame:
        try:
            frame = cast(av.VideoFrame, await self._source.recv())
        except MediaStreamError:
            self.stop()
            raise
        if self._change is None:
            return frame
        picture = self._change(cast(Picture, frame.to_ndarray(format="rgb24")))
        changed = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        changed.pts, changed.time_base = frame.pts, frame.time_base or Fraction(1, 90_000)
        return changed


class ControlServer:
    """`async with ControlServer(...) as server:` serves POST /webrtc/offer at `server.url` on a free port.

    reject_offers: how many offers are answered 503 with Retry-After before one is accepted.
    """

    def __init__(
        self, change: Change | None = None, *, host: str = "127.0.0.1", reject_offers: int = 0, retry_after: str = "0.1"
    ) -> None:
        self._change = change
        self._host = host
        self._retry_after = retry_after
        self._peers: list[RTCPeerConnection] = []
        self._runner: web.AppRunner | None = None
        self.reject_offers = reject_offers
        self.url = ""

    async def __aenter__(self) -> "ControlServer":
        app = web.Application()
        app.router.add_post("/webrtc/offer", self._offer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, 0)
        await site.start()
        address: Sequence[Any] = self._runner.addresses[0]
        self.url = f"http://{address[0]}:{address[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_sessions()
        if self._runner is not None:
            await self._runner.cleanup()

    async def close_sessions(self) -> None:
        """Close all sessions from this side, as a stopping service does."""
        peers, self._peers = self._peers, []
        await asyncio.wait_for(asyncio.gather(*(peer.close() for peer in peers)), 10)

    def mute(self) -> bool:
        """Send no picture any more, without a word; the sessions stay. True when there is one."""
        for peer in self._peers:
            for sender in peer.getSenders():
                sender.replaceTrack(None)
        return bool(self._peers)

    async def _offer(self, request: web.Request) -> web.Response:
        if self.reject_offers > 0:
            self.reject_offers -= 1
            headers = {"Retry-After": self._retry_after}
            return web.json_response({"title": "full"}, status=503, headers=headers)
        body = await request.json()
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peers.append(peer)
        peer.on("track", lambda track: peer.addTrack(_ChangedTrack(track, self._change)))
        await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        compat.use_host_addresses(peer, [self._host])
        await peer.setLocalDescription(await peer.createAnswer())
        answer = peer.localDescription
        return web.json_response({"sdp": answer.sdp, "type": answer.type, "sessionId": str(id(peer))})
