"""Numbered clips, encoded once and kept: what load clients send in real time without encoding anything.

A clip loops. Frame k of a clip shows the number k, so a number says which frame of the loop a picture is; the absolute
frame follows from the RTP timestamp (`timeline.py`), because one loop (20 s) is longer than any answer may take.
"""

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from devcluster.load.drawing import draw
from devcluster.load.layout import Layout

Codec = Literal["H264", "VP8"]
CODECS: tuple[Codec, ...] = ("H264", "VP8")
VIDEO_CLOCK_HERTZ = 90_000

_FORMAT = 3  # raise when drawing or encoding changes, so that kept clips are made anew
_MAGIC = b"NUMCLIP\n"
_ENCODERS: dict[Codec, tuple[str, dict[str, str]]] = {
    "H264": ("libx264", {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "level": "31"}),
    "VP8": ("libvpx", {"deadline": "good", "cpu-used": "4", "lag-in-frames": "0", "auto-alt-ref": "0"}),
}


@dataclass(frozen=True)
class ClipSpec:
    """What a clip is: codec, picture size in pixels, frames a second, bits a second, length and keyframe distance."""

    codec: Codec = "H264"
    width: int = 320
    height: int = 240
    frames_per_second: int = 15
    bits_per_second: int = 250_000
    seconds: int = 20
    keyframe_seconds: int = 2

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ValueError(f"codec {self.codec!r}: must be one of {', '.join(CODECS)}")
        if VIDEO_CLOCK_HERTZ % self.frames_per_second:
            raise ValueError(f"frames_per_second {self.frames_per_second}: must divide {VIDEO_CLOCK_HERTZ}")
        if not 0 < self.seconds * self.frames_per_second <= 1 << 16:
            raise ValueError(f"seconds {self.seconds}: a clip has 1..65536 frames")
        Layout(self.width, self.height)

    @property
    def frame_count(self) -> int:
        """Frames in one loop."""
        return self.seconds * self.frames_per_second

    @property
    def ticks_per_frame(self) -> int:
        """RTP clock ticks (90 kHz) from one frame to the next."""
        return VIDEO_CLOCK_HERTZ // self.frames_per_second


@dataclass(frozen=True)
class Clip:
    """The encoded frames of one loop; frame 0 is a keyframe, H.264 is Annex B with parameter sets at each keyframe."""

    spec: ClipSpec
    frames: tuple[bytes, ...]
    keyframes: tuple[int, ...]

    def next_keyframe(self, position: int) -> int:
        """The first keyframe at or after a position of the loop (0 after the last one)."""
        return next((index for index in self.keyframes if index >= position), 0)


def _open_encoder(spec: ClipSpec) -> VideoCodecContext:
    name, options = _ENCODERS[spec.codec]
    encoder = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = spec.width, spec.height, "yuv420p"
    encoder.time_base = Fraction(1, spec.frames_per_second)
    encoder.framerate = Fraction(spec.frames_per_second)
    encoder.bit_rate = spec.bits_per_second
    encoder.gop_size = spec.keyframe_seconds * spec.frames_per_second
    encoder.max_b_frames = 0
    encoder.thread_count = 1
    encoder.options = {**options, "maxrate": str(spec.bits_per_second), "bufsize": str(spec.bits_per_second)}
    return encoder


def encode_pictures(spec: ClipSpec, pictures: Iterator[NDArray[np.uint8]]) -> Iterator[tuple[bytes, bool]]:
    """Encode RGB pictures as a clip is encoded; yields (bytes, is keyframe) one for each picture, in order."""
    encoder = _open_encoder(spec)
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = index, encoder.time_base
        for packet in encoder.encode(frame):
            yield bytes(packet), packet.is_keyframe
    for packet in encoder.encode(None):
        yield bytes(packet), packet.is_keyframe


def make_clip(spec: ClipSpec) -> Clip:
    """Draw and encode one loop (a second or two of CPU for 320x240)."""
    layout = Layout(spec.width, spec.height)
    encoded = list(encode_pictures(spec, (draw(layout, number) for number in range(spec.frame_count))))
    if len(encoded) != spec.frame_count:
        raise RuntimeError(f"{spec.codec} encoder gave {len(encoded)} frames for {spec.frame_count} pictures")
    keyframes = tuple(index for index, (_, is_keyframe) in enumerate(encoded) if is_keyframe)
    return Clip(spec, tuple(data for data, _ in encoded), keyframes)


def _store(clip: Clip, path: Path) -> None:
    header = json.dumps(
        {**asdict(clip.spec), "keyframes": clip.keyframes, "sizes": [len(data) for data in clip.frames]}
    )
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(_MAGIC + struct.pack(">I", len(header)) + header.encode() + b"".join(clip.frames))
    Path(file.name).replace(path)  # in one step: another process may be reading


def _restore(spec: ClipSpec, path: Path) -> Clip | None:
    """The kept clip, or None when there is none or the file is damaged."""
    try:
        content = path.read_bytes()
        start = len(_MAGIC) + 4
        (length,) = struct.unpack(">I", content[len(_MAGIC) : start])
        header = json.loads(content[start : start + length])
        sizes, keyframes = [int(size) for size in header["sizes"]], tuple(int(index) for index in header["keyframes"])
    except (OSError, ValueError, KeyError, struct.error):
        return None
    body = memoryview(content)[start + length :]
    if not content.startswith(_MAGIC) or len(sizes) != spec.frame_count or sum(sizes) != len(body):
        return None
    ends = np.cumsum(sizes)
    return Clip(spec, tuple(bytes(body[end - size : end]) for size, end in zip(sizes, ends, strict=True)), keyframes)


def default_cache_folder() -> Path:
    """`rtcscale/clips` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "rtcscale" / "clips"


def load_clip(spec: ClipSpec, folder: Path | None = None) -> Clip:
    """The clip of a spec from the cache folder, made and kept there when it is missing or damaged."""
    folder = folder or default_cache_folder()
    key = hashlib.sha256(json.dumps([_FORMAT, asdict(spec)], sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"{spec.codec.lower()}-{spec.width}x{spec.height}-{spec.frames_per_second}-{key}.clip"
    kept = _restore(spec, path)
    if kept is not None:
        return kept
    clip = make_clip(spec)
    folder.mkdir(parents=True, exist_ok=True)
    _store(clip, path)
    return clip
