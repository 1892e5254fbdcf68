"""The FFmpeg check: decodes returned video with FFmpeg (through PyAV), which shares no code with the service's effects.

All inspectors of a process share one worker thread; each may have a few frames waiting, more are skipped and counted.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from devcluster.load.clips import Codec
from devcluster.load.drawing import draw
from devcluster.load.layout import Layout
from devcluster.load.marks import measure_patches, read_number
from devcluster.load.verdict import PatchReading, Verdict, effect_seen

_DECODERS: dict[Codec, str] = {"H264": "h264", "VP8": "libvpx"}
_WAITING_FRAMES = 8
_EFFECT_TICKS = 90_000  # look at the effect once a second of video
_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load-inspector")


@dataclass(frozen=True)
class Inspection:
    """What one returned picture showed: its RTP timestamp, its number if readable, and now and then a verdict."""

    timestamp: int
    number: int | None
    verdict: Verdict | None


@lru_cache(maxsize=8)
def _reference(layout: Layout) -> PatchReading:
    """The patches of a picture as drawn; they are the same for all numbers."""
    reading = measure_patches(draw(layout, 0))
    if reading is None:
        raise RuntimeError(f"a drawn picture of {layout.width}x{layout.height} cannot be read back")
    return reading


def _gray_plane(frame: av.VideoFrame) -> NDArray[np.uint8]:
    plane = frame.planes[0]
    rows = np.frombuffer(cast(bytes, plane), dtype=np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]


class Inspector:
    """Decodes one returned stream; `inspected` is called on the event loop, in order, for each decoded picture."""

    def __init__(
        self, codec: Codec, stages: Sequence[Mapping[str, Any]], inspected: Callable[[Inspection], None]
    ) -> None:
        self._codec: Codec = codec
        self._stages = stages
        self._inspected = inspected
        self._decoder: VideoCodecContext | None = None
        self._next_look: int | None = None
        self._waiting = 0
        self._closed = False
        self.skipped = 0
        self.undecodable = 0

    def add(self, data: bytes, timestamp: int) -> bool:
        """Queue an encoded frame for the worker. False when it was skipped: ask for a keyframe then."""
        if self._closed or self._waiting >= _WAITING_FRAMES:
            self.skipped += 1
            return False
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(_worker, self._inspect, data, timestamp)
        future.add_done_callback(self._done)
        return True

    def close(self) -> None:
        """Take no more frames; results still under way are dropped."""
        self._closed = True

    def _done(self, future: "asyncio.Future[list[Inspection]]") -> None:
        self._waiting -= 1
        if self._closed or future.cancelled():
            return
        for inspection in future.result():
            self._inspected(inspection)

    def _inspect(self, data: bytes, timestamp: int) -> list[Inspection]:
        if self._decoder is None:
            self._decoder = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[self._codec], "r"))
            self._decoder.thread_count = 1
        packet = av.Packet(data)
        packet.pts = timestamp
        try:
            return [self._look(frame, timestamp) for frame in self._decoder.decode(packet)]
        except av.FFmpegError:
            self.undecodable += 1
            return []

    def _look(self, frame: av.VideoFrame, timestamp: int) -> Inspection:
        pts = timestamp if frame.pts is None else frame.pts
        verdict = None
        if self._stages and (self._next_look is None or (pts - self._next_look) % (1 << 32) < 1 << 31):
            self._next_look = (pts + _EFFECT_TICKS) % (1 << 32)
            verdict = self._judge(frame)
        return Inspection(pts, read_number(_gray_plane(frame)), verdict)

    def _judge(self, frame: av.VideoFrame) -> Verdict:
        after = measure_patches(cast(NDArray[np.uint8], frame.to_ndarray(format="rgb24")))
        if after is None:
            return Verdict("unclear", "the number cannot be read, so the patches cannot be found")
        return effect_seen(_reference(Layout(frame.width, frame.height)), after, self._stages)
