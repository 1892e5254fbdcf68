"""A number drawn in a picture survives codecs, blur, colour changes and small moves; what is not sure reads as None."""

from collections.abc import Callable
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devcluster.load.clips import CODECS, ClipSpec, Codec, encode_pictures
from devcluster.load.drawing import draw
from devcluster.load.layout import Layout
from devcluster.load.marks import (
    Picture,
    code_bits,
    effect_seen,
    gray_of_i420,
    locate,
    measure_patches,
    read_number,
    rgb_of_i420,
)

LAYOUT = Layout(320, 240)
BLUR = [{"effect": "GaussianBlur", "parameters": {"radius": 7}}]
NO_COLOUR = [{"effect": "ColorCorrection", "parameters": {"saturation": 0}}]
NUMBERS = [0, 1, 2, 255, 256, 12_345, 43_690, 21_845, 65_534, 65_535]


def _blurred(picture: Picture, radius: int = 7) -> Picture:
    return cv2.GaussianBlur(picture, (2 * radius + 1, 2 * radius + 1), 0)


def _gray(picture: Picture) -> Picture:
    return np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def _moved(picture: Picture, dx: int, dy: int) -> Picture:
    return cv2.warpAffine(picture, np.float32([[1, 0, dx], [0, 1, dy]]), (picture.shape[1], picture.shape[0]))


def _scaled(picture: Picture, factor: float, offset: float) -> Picture:
    return np.clip(picture.astype(float) * factor + offset, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "nothing": lambda picture: picture,
    "blur of radius 9": lambda picture: _blurred(picture, 9),
    "box blur of 15 pixels": lambda picture: cv2.blur(picture, (15, 15)),
    "no colour": _gray,
    "dark": lambda picture: _scaled(picture, 0.4, 0),
    "bright": lambda picture: _scaled(picture, 1.0, 60),
    "flat": lambda picture: _scaled(picture, 0.3, 90),
    "inverted": lambda picture: 255 - picture,
    "gamma 2": lambda picture: (255 * (picture / 255.0) ** 2).astype(np.uint8),
    "moved right and down": lambda picture: _moved(picture, 24, 12),
    "moved left and up": lambda picture: _moved(picture, -12, -16),
    "blurred and moved": lambda picture: _moved(_blurred(picture), 11, -7),
    "noisy": lambda picture: _scaled(picture + np.random.default_rng(1).normal(0, 12, picture.shape), 1, 0),
}


@given(st.integers(0, 65_535))
def test_every_number_reads_back_from_the_drawn_picture(number: int) -> None:
    assert read_number(draw(LAYOUT, number)) == number


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@settings(max_examples=15, deadline=None)
@given(number=st.integers(0, 65_535))
def test_numbers_survive_effects(change: Callable[[Picture], Picture], number: int) -> None:
    assert read_number(change(draw(LAYOUT, number))) == number


def _decoded(codec: Codec, numbers: list[int], size: tuple[int, int], bits: int) -> list[Picture]:
    """Pictures through the real encoder of clips and FFmpeg's decoder, as I420 arrays."""
    spec = ClipSpec(codec, *size, bits_per_second=bits)
    decoder = av.CodecContext.create({"H264": "h264", "VP8": "libvpx"}[codec], "r")
    pictures = (draw(Layout(*size), number) for number in numbers)
    packets = [av.Packet(data) for data, _ in encode_pictures(spec, pictures)]
    frames: list[Any] = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return [frame.to_ndarray(format="yuv420p") for frame in frames]


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=8, deadline=None)
@given(numbers=st.lists(st.integers(0, 65_535), min_size=10, max_size=20))
def test_numbers_survive_both_codecs_at_a_low_bit_rate_and_a_blur(codec: Codec, numbers: list[int]) -> None:
    decoded = _decoded(codec, numbers, (320, 240), 150_000)
    assert [read_number(gray_of_i420(frame)) for frame in decoded] == numbers
    assert [read_number(_blurred(rgb_of_i420(frame), 9)) for frame in decoded] == numbers


@pytest.mark.parametrize("size", [(320, 240), (640, 360), (1280, 720)], ids=str)
@pytest.mark.parametrize("codec", CODECS)
def test_all_sizes_keep_numbers_and_patches_through_the_codecs(codec: Codec, size: tuple[int, int]) -> None:
    decoded = _decoded(codec, NUMBERS, size, 400_000)
    before = measure_patches(draw(Layout(*size), 0))
    assert [read_number(gray_of_i420(frame)) for frame in decoded] == NUMBERS
    for frame in decoded:
        plain, blurred = measure_patches(rgb_of_i420(frame)), measure_patches(_blurred(rgb_of_i420(frame)))
        assert before is not None
        assert plain is not None
        assert blurred is not None
        assert effect_seen(before, plain, BLUR).answer == "not seen"
        assert effect_seen(before, blurred, BLUR).answer == "seen"


def test_the_move_is_measured_to_a_pixel_or_two() -> None:
    for dx, dy in [(0, 0), (5, -3), (17, 9), (-8, 12), (40, 30)]:
        found = locate(_moved(draw(LAYOUT, 777), dx, dy))
        assert found is not None
        assert found.number == 777
        assert abs(found.dx - dx) <= 2
        assert abs(found.dy - dy) <= 2


def test_a_single_wrong_cell_reads_as_none() -> None:
    for column, row in [(1, 0), (6, 3), (3, 2)]:
        picture = draw(LAYOUT, 4_242)
        box = LAYOUT.cell(column, row)
        cell = picture[box.top : box.bottom, box.left : box.right]
        cell[:] = 251 - cell
        assert read_number(picture) is None


def test_pictures_without_a_clear_code_read_as_none() -> None:
    random = np.random.default_rng(2)
    assert read_number(np.zeros((240, 320, 3), np.uint8)) is None
    assert read_number(np.full((240, 320), 128, np.uint8)) is None
    for _ in range(50):
        coarse = random.integers(0, 256, (12, 16), dtype=np.uint8)
        assert read_number(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_NEAREST)) is None


def test_numbers_out_of_range_are_refused() -> None:
    for number in (-1, 65_536):
        with pytest.raises(ValueError, match=r"0\.\.65535"):
            code_bits(number)


def test_picture_sizes_that_cannot_hold_the_marks_are_refused() -> None:
    for size in [(240, 320), (160, 120), (321, 240)]:
        with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}"):
            Layout(*size)


def _colour(name: str, value: float) -> list[dict[str, Any]]:
    return [{"effect": "ColorCorrection", "parameters": {name: value}}]


EFFECTS: list[tuple[list[dict[str, Any]], Callable[[Picture], Picture]]] = [
    (BLUR, _blurred),
    (NO_COLOUR, _gray),
    (_colour("brightness", 0.2), lambda picture: _scaled(picture, 1, 51)),
    (_colour("brightness", -0.2), lambda picture: _scaled(picture, 1, -51)),
    (_colour("contrast", 0.5), lambda picture: _scaled(picture, 0.5, 64)),
    ([{"effect": "Translate", "parameters": {"x": 16, "y": 8}}], lambda picture: _moved(picture, 16, 8)),
    ([*BLUR, *NO_COLOUR], lambda picture: _gray(_blurred(picture))),
]


@pytest.mark.parametrize(("stages", "change"), EFFECTS, ids=[str(stages) for stages, _ in EFFECTS])
def test_an_effect_is_seen_where_it_is_and_not_where_it_is_not(
    stages: list[dict[str, Any]], change: Callable[[Picture], Picture]
) -> None:
    before, after = measure_patches(draw(LAYOUT, 5)), measure_patches(change(draw(LAYOUT, 6)))
    assert before is not None
    assert after is not None
    assert effect_seen(before, after, stages).answer == "seen", effect_seen(before, after, stages).reason
    assert effect_seen(before, before, stages).answer == "not seen"


def test_one_missing_stage_of_two_is_not_seen_and_the_reason_has_the_numbers() -> None:
    before, after = measure_patches(draw(LAYOUT, 5)), measure_patches(_blurred(draw(LAYOUT, 5)))
    assert before is not None
    assert after is not None
    verdict = effect_seen(before, after, [*BLUR, *NO_COLOUR])
    assert verdict.answer == "not seen"
    assert "checkerboard contrast 0.0" in verdict.reason
    assert "colour saturation 1.00" in verdict.reason


def test_half_an_effect_is_unclear() -> None:
    before = measure_patches(draw(LAYOUT, 5))
    after = measure_patches(cv2.addWeighted(draw(LAYOUT, 5), 0.6, _gray(draw(LAYOUT, 5)), 0.4, 0))
    assert before is not None
    assert after is not None
    assert effect_seen(before, after, NO_COLOUR).answer == "unclear"


def test_passthrough_is_never_seen() -> None:
    before, after = measure_patches(draw(LAYOUT, 5)), measure_patches(_blurred(draw(LAYOUT, 5)))
    assert before is not None
    assert after is not None
    assert effect_seen(before, after, [{"effect": "Passthrough"}]).answer == "not seen"
