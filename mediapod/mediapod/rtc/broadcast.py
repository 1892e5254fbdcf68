"""One publisher's processed media for any number of viewers: encoded once, queued for each viewer, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from aiortc import MediaStreamError
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpsender import RTCEncodedFrame

from mediapod.rtc.compat import NextFrame

QUEUED_FRAMES = 15  # half a second of video; a viewer that falls behind further starts again at a keyframe
NAL_TYPE_MASK, NAL_IDR, NAL_SPS, NAL_STAP_A, NAL_FU_A = 0x1F, 5, 7, 24, 28


class ViewerQueue:
    """The frames of one kind that one viewer still has to be sent. It begins, and begins again, at a keyframe."""

    def __init__(self, codec: str, request_keyframe: Callable[[], None]) -> None:
        self._codec, self._request_keyframe = codec, request_keyframe
        self._frames: deque[RTCEncodedFrame] = deque()
        self._arrived = asyncio.Event()
        self._waiting_for_keyframe = True
        self._closed = False

    def put(self, frame: RTCEncodedFrame) -> None:
        """Queue a frame. A full queue is emptied: what came after a gap could not be decoded."""
        if len(self._frames) >= QUEUED_FRAMES:
            self._frames.clear()
            self._waiting_for_keyframe = True
            self._request_keyframe()
        if self._waiting_for_keyframe and not starts_afresh(self._codec, frame.payloads):
            return
        self._waiting_for_keyframe = False
        self._frames.append(frame)
        self._arrived.set()

    def close(self) -> None:
        """Nothing will come any more."""
        self._closed = True
        self._arrived.set()

    async def next_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame:
        """The next frame, as an RTP sender asks for it. Raises MediaStreamError at the end."""
        while not self._frames:
            if self._closed:
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()


class Broadcast:
    """The processed media of one publisher. codecs: kind -> codec name, once they are negotiated. color_space: what is
    said of the colours of its pictures, as a header extension.
    """

    def __init__(
        self, request_keyframe: Callable[[], None], color_space: Callable[[], bytes | None] = lambda: None
    ) -> None:
        self.request_keyframe, self.color_space = request_keyframe, color_space
        self.codecs: dict[str, str] = {}
        self._viewers: dict[str, set[ViewerQueue]] = {"video": set(), "audio": set()}
        self._on_close: set[Callable[[], None]] = set()
        self.closed = False

    def carry(self, kind: str, codec: RTCRtpCodecParameters, next_frame: NextFrame) -> asyncio.Task[None]:
        """Take frames of `kind` from `next_frame` until it ends, and give them to the viewers."""
        self.codecs[kind] = codec.name
        return asyncio.get_running_loop().create_task(self._carry(kind, codec, next_frame), name=f"mediapod-{kind}-out")

    def watch(self, kind: str) -> ViewerQueue:
        """A queue for one more viewer; give it back with `leave`."""
        queue = ViewerQueue(self.codecs[kind], self.request_keyframe)
        self._viewers[kind].add(queue)
        self.request_keyframe()
        return queue

    def leave(self, kind: str, queue: ViewerQueue) -> None:
        """The viewer is gone."""
        self._viewers[kind].discard(queue)
        queue.close()

    def when_closed(self, call: Callable[[], None]) -> Callable[[], None]:
        """Let `call` be called when the publisher is gone; returns what takes that back."""
        self._on_close.add(call)
        return lambda: self._on_close.discard(call)

    def close(self) -> None:
        """The publisher is gone: all viewers end."""
        self.closed = True
        for call in list(self._on_close):
            call()
        for queues in self._viewers.values():
            for queue in list(queues):
                queue.close()

    async def _carry(self, kind: str, codec: RTCRtpCodecParameters, next_frame: NextFrame) -> None:
        while True:
            try:
                frame = await next_frame(codec)
            except MediaStreamError:
                return
            for queue in list(self._viewers[kind]):
                queue.put(frame)


def starts_afresh(codec: str, payloads: list[bytes]) -> bool:
    """Whether a decoder can begin with the frame in these RTP payloads."""
    if not payloads or not payloads[0]:
        return False
    name = codec.upper()
    if name == "VP8":
        _, rest = VpxPayloadDescriptor.parse(payloads[0])
        return bool(rest) and not rest[0] & 1  # RFC 6386 section 9.1: 0 is a key frame
    if name == "H264":
        return _begins_with_parameters(payloads[0])
    return True


def _begins_with_parameters(payload: bytes) -> bool:
    """Whether an H.264 payload (RFC 6184) begins with a parameter set or a refresh picture."""
    kind = payload[0] & NAL_TYPE_MASK
    if kind == NAL_STAP_A and len(payload) > 3:
        kind = payload[3] & NAL_TYPE_MASK
    elif kind == NAL_FU_A and len(payload) > 1:
        kind = payload[1] & NAL_TYPE_MASK
    return kind in (NAL_IDR, NAL_SPS)
