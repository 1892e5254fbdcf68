"""Clips decode to their own numbers, start with a keyframe, and are kept and made anew when damaged."""

from pathlib import Path

import av
import pytest

from devcluster.load.clips import CODECS, ClipSpec, Codec, load_clip, make_clip
from devcluster.load.marks import read_number


@pytest.mark.parametrize("codec", CODECS)
def test_a_clip_shows_its_frame_numbers_also_over_the_loop(codec: Codec) -> None:
    clip = make_clip(ClipSpec(codec, seconds=3))
    decoder = av.CodecContext.create({"H264": "h264", "VP8": "libvpx"}[codec], "r")
    packets = [av.Packet(data) for data in (*clip.frames, *clip.frames)]
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    assert [read_number(frame.to_ndarray(format="rgb24")) for frame in frames] == [*range(45), *range(45)]


def test_keyframes_are_where_asked_and_found_again() -> None:
    clip = make_clip(ClipSpec("H264", seconds=4, keyframe_seconds=1))
    assert clip.keyframes == (0, 15, 30, 45)
    assert [clip.next_keyframe(position) for position in (0, 1, 15, 44, 46)] == [0, 15, 15, 45, 0]


def test_h264_is_constrained_baseline_without_frames_out_of_order() -> None:
    clip = make_clip(ClipSpec("H264", seconds=1))
    start = clip.frames[0].index(b"\x00\x00\x01\x67") + 4  # sequence parameter set
    profile, constraints = clip.frames[0][start], clip.frames[0][start + 1]
    assert profile == 66
    assert constraints & 0x40, "constraint_set1_flag: constrained baseline"


def test_a_kept_clip_is_used_again_and_a_damaged_one_made_anew(tmp_path: Path) -> None:
    spec = ClipSpec("VP8", seconds=1)
    clip = load_clip(spec, tmp_path)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    assert load_clip(spec, tmp_path) == clip
    assert path.stat().st_mtime_ns == written
    for damage in (path.read_bytes()[:-7], b"", b"NUMCLIP\n\x00\x00\x00\x02{}"):
        path.write_bytes(damage)
        assert load_clip(spec, tmp_path).frames == clip.frames
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "no half-written file stays"


def test_wrong_specs_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="codec 'VP9'"):
        ClipSpec("VP9")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="frames_per_second 7"):
        ClipSpec(frames_per_second=7)
    with pytest.raises(ValueError, match="seconds 100000"):
        ClipSpec(seconds=100_000)
