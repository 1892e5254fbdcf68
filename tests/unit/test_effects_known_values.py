"""Each effect against values that are known without running it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediapod.effects import create
from mediapod.effects.color import yuv_from_hex
from mediapod.frames.i420 import I420Frame
from mediapod.frames.motion import motion_shape


def flat(width: int, height: int, y: int = 100, u: int = 128, v: int = 128) -> I420Frame:
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return I420Frame(
        y=np.full((height, width), y, np.uint8), u=np.full(chroma, u, np.uint8), v=np.full(chroma, v, np.uint8)
    )


def same(one: I420Frame, other: I420Frame) -> bool:
    return all(np.array_equal(a, b) for a, b in ((one.y, other.y), (one.u, other.u), (one.v, other.v)))


def analytic_kernel(radius: int, sigma: float) -> np.ndarray:
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-(x**2) / (2 * sigma**2))
    weights /= weights.sum()
    return np.outer(weights, weights)


class TestGaussianBlur:
    @pytest.mark.parametrize(("radius", "sigma"), [(1, 0.8), (3, 1.4), (5, 2.0), (7, 2.6)])
    def test_an_impulse_becomes_the_kernel(self, radius: int, sigma: float) -> None:
        frame = flat(41, 41, y=0, u=0, v=0)
        frame.y[20, 20] = 255
        frame.u[10, 10] = 255
        out = create("GaussianBlur", {"radius": radius, "sigma": sigma}).cpu(frame)
        luma, half = np.zeros((41, 41)), (radius + 1) // 2
        luma[20 - radius : 21 + radius, 20 - radius : 21 + radius] = 255 * analytic_kernel(radius, sigma)
        chroma = np.zeros((21, 21))
        chroma[10 - half : 11 + half, 10 - half : 11 + half] = 255 * analytic_kernel(half, sigma / 2)
        assert np.abs(out.y - luma).max() <= 1
        assert np.abs(out.u - chroma).max() <= 1
        assert out.v.max() == 0

    def test_the_default_sigma_is_opencvs_for_the_radius(self) -> None:
        frame = flat(41, 41, y=0)
        frame.y[20, 20] = 255
        by_default = create("GaussianBlur", {"radius": 7}).cpu(frame)
        assert same(by_default, create("GaussianBlur", {"radius": 7, "sigma": 0.3 * 6 + 0.8}).cpu(frame))

    @pytest.mark.parametrize("radius", [3, 25, 99])
    @pytest.mark.parametrize("period", [2, 3, 8])
    def test_stripes_keep_the_precision_of_the_weights(self, radius: int, period: int) -> None:
        stripes = 255 * (np.arange(301) % period == 0)
        frame = flat(301, 3)
        frame.y[:] = stripes
        sigma = 0.3 * (radius - 1) + 0.8
        weights = analytic_kernel(radius, sigma).sum(axis=0)
        expected = np.convolve(np.pad(stripes, radius, mode="edge"), weights, mode="valid")
        out = create("GaussianBlur", {"radius": radius, "sigma": sigma}).cpu(frame)
        assert np.abs(out.y - expected).max() <= 1

    @pytest.mark.parametrize("radius", [1, 7, 99])
    def test_a_flat_picture_stays_flat_up_to_its_edges(self, radius: int) -> None:
        frame = flat(33, 19, y=201, u=77, v=143)
        assert same(create("GaussianBlur", {"radius": radius}).cpu(frame), frame)


class TestTranslate:
    @settings(max_examples=60, deadline=None)
    @given(
        x=st.integers(-40, 40),
        y=st.integers(-40, 40),
        width=st.integers(1, 35),
        height=st.integers(1, 35),
        data=st.data(),
    )
    def test_every_luma_pixel_moves_exactly(self, x: int, y: int, width: int, height: int, data: st.DataObject) -> None:
        random = np.random.default_rng(data.draw(st.integers(0, 999)))
        frame = flat(width, height)
        frame.y[:] = random.integers(0, 256, frame.y.shape)
        out = create("Translate", {"x": x, "y": y, "fill": "#ffffff"}).cpu(frame)
        for row in range(height):
            for column in range(width):
                inside = 0 <= row - y < height and 0 <= column - x < width
                assert out.y[row, column] == (frame.y[row - y, column - x] if inside else 235)

    @pytest.mark.parametrize(("width", "height"), [(16, 8), (15, 9), (17, 7)])
    def test_even_distances_move_chroma_exactly_with_luma(self, width: int, height: int) -> None:
        frame = flat(width, height)
        frame.u[1, 2] = 200
        frame.y[2:4, 4:6] = 50
        out = create("Translate", {"x": 4, "y": 2}).cpu(frame)
        assert out.u[2, 4] == 200
        assert (out.y[4:6, 8:10] == 50).all()
        assert (out.u[1:, 2:] != 128).sum() == 1

    def test_odd_distances_share_chroma_between_two_neighbours(self) -> None:
        frame = flat(17, 9)
        frame.u[2, 3] = 228
        out = create("Translate", {"x": 1, "y": 0, "fill": "#808080"}).cpu(frame)
        assert out.u[2, 3] == 178
        assert out.u[2, 4] == 178
        assert (out.u != 128).sum() == 2

    @pytest.mark.parametrize(("x", "y"), [(100, 0), (0, -100), (-8192, 8192), (17, 9)])
    def test_a_picture_that_is_moved_out_leaves_the_fill_colour(self, x: int, y: int) -> None:
        red = yuv_from_hex("#ff0000")
        out = create("Translate", {"x": x, "y": y, "fill": "#ff0000"}).cpu(flat(17, 9))
        assert same(out, flat(17, 9, *red)) or (x, y) == (17, 9)
        assert (out.y == red.y).all()


class TestFillColour:
    # The 100 % colour bars of ITU-R BT.601 in 8-bit limited range, as every table of them lists.
    @pytest.mark.parametrize(
        ("color", "expected"),
        [
            ("#000000", (16, 128, 128)),
            ("#ffffff", (235, 128, 128)),
            ("#ff0000", (81, 90, 240)),
            ("#00FF00", (145, 54, 34)),
            ("#0000ff", (41, 240, 110)),
        ],
    )
    def test_is_bt601_limited_range(self, color: str, expected: tuple[int, int, int]) -> None:
        assert tuple(yuv_from_hex(color)) == expected


class TestColorCorrection:
    def test_the_defaults_change_nothing_not_even_out_of_range_samples(self) -> None:
        frame = flat(5, 3, y=3, u=255, v=0)
        effect = create("ColorCorrection", {})
        assert effect.is_identity
        assert same(effect.cpu(frame), frame)

    @pytest.mark.parametrize("saturation", [0.0, 0.5, 2.0, 4.0])
    @pytest.mark.parametrize("hue", [-180.0, -33.3, 0.0, 90.0])
    def test_grey_has_no_colour_to_strengthen_or_turn(self, saturation: float, hue: float) -> None:
        frame = flat(9, 7, y=120)
        assert same(create("ColorCorrection", {"saturation": saturation, "hue": hue}).cpu(frame), frame)

    def test_zero_saturation_gives_greys(self) -> None:
        out = create("ColorCorrection", {"saturation": 0}).cpu(flat(9, 7, u=30, v=220))
        assert (out.u == 128).all()
        assert (out.v == 128).all()

    def test_a_quarter_turn_of_hue_takes_cb_to_cr(self) -> None:
        out = create("ColorCorrection", {"hue": 90}).cpu(flat(9, 7, u=168, v=128))
        assert (out.u == 128).all()
        assert (out.v == 168).all()

    @pytest.mark.parametrize(
        ("parameters", "before", "after"),
        [
            ({"brightness": 0.5}, 16, 126),  # 16 + 219 * 0.5 = 125.5, to even
            ({"brightness": 1}, 100, 235),
            ({"brightness": -1}, 235, 16),
            ({"contrast": 0}, 30, 126),
            ({"contrast": 2}, 235, 235),
            ({"contrast": 2}, 181, 235),  # 0.753 -> 1.007, limited
            ({"gamma": 2}, 71, 126),  # ((71 - 16) / 219) ** 0.5 = 0.5011
            ({"gamma": 0.5}, 235, 235),
        ],
    )
    def test_luma_follows_the_stated_formula(self, parameters: dict[str, object], before: int, after: int) -> None:
        assert (create("ColorCorrection", parameters).cpu(flat(5, 3, y=before)).y == after).all()


def test_passthrough_hands_on_the_very_frame() -> None:
    frame = flat(7, 5)
    assert create("Passthrough", {}).cpu(frame) is frame


def test_grayscale_keeps_luma_and_neutralises_chroma() -> None:
    assert same(create("Grayscale", {}).cpu(flat(9, 7, y=77, u=3, v=250)), flat(9, 7, y=77))


class TestBackgroundDim:
    def moving(self, frame: I420Frame, motion: int) -> I420Frame:
        return replace(frame, motion=np.full(motion_shape(frame.height, frame.width), motion, np.uint8))

    @pytest.mark.parametrize(("motion", "kept"), [(0, 0.25), (6, 0.25), (9, 0.625), (12, 1.0), (64, 1.0)])
    def test_light_follows_the_motion_between_once_and_twice_the_threshold(self, motion: int, kept: float) -> None:
        effect = create("BackgroundDim", {"strength": 0.75, "threshold": 6})
        out = effect.cpu(self.moving(flat(33, 31, y=216, u=28, v=228), motion))
        assert (np.abs(out.y - (16 + 200 * kept)) <= 1).all()
        assert (np.abs(out.u - (128 - 100 * kept)) <= 1).all()
        assert (np.abs(out.v - (128 + 100 * kept)) <= 1).all()

    @pytest.mark.parametrize("reach", [0, 1, 3])
    def test_cells_around_what_moves_stay_light_too(self, reach: int) -> None:
        frame = self.moving(flat(320, 320, y=216), 0)
        frame.motion[10, 10] = 64
        out = create("BackgroundDim", {"strength": 1, "reach": reach}).cpu(frame)
        # Between the middles of two cells the mask goes from 1 to 0.
        first, last = (10 - reach) * 16 + 8, (10 + reach) * 16 + 8
        assert (out.y[first:last, first:last] >= 215).all()
        assert (out.y[: first - 16] == 16).all()
        assert (out.y[:, last + 16 :] == 16).all()

    def test_without_known_motion_nothing_changes(self) -> None:
        frame = flat(33, 31)
        assert create("BackgroundDim", {}).cpu(frame) is frame
        assert create("BackgroundDim", {"strength": 0}).is_identity


class TestEdgeDetect:
    def test_a_flat_picture_has_no_edges(self) -> None:
        assert same(create("EdgeDetect", {}).cpu(flat(9, 7, y=180, u=30, v=220)), flat(9, 7, y=16))

    @pytest.mark.parametrize(("step", "lightness"), [(219, 235), (100, 116), (20, 36)])
    @pytest.mark.parametrize("across", [True, False])
    def test_a_step_lights_up_both_its_sides_by_its_height(self, step: int, lightness: int, across: bool) -> None:
        frame = flat(12, 12, y=16)
        (frame.y.T if across else frame.y)[6:] = 16 + step
        edges = create("EdgeDetect", {}).cpu(frame).y
        lines = edges.T if across else edges
        assert (lines[5:7] == lightness).all()
        assert (np.delete(lines, [5, 6], axis=0) == 16).all()


class TestSharpen:
    def test_amount_zero_changes_nothing(self) -> None:
        assert create("Sharpen", {"amount": 0}).is_identity

    def test_a_step_overshoots_by_the_blur_it_had_and_the_rest_stays(self) -> None:
        frame = flat(40, 5, y=100)
        frame.y[:, 20:] = 140
        out = create("Sharpen", {"amount": 1.0, "radius": 2}).cpu(frame)
        weights = analytic_kernel(2, 1.1).sum(axis=0)
        bleed = 40 * weights[3:].sum()  # what the Gaussian carries over the step to the pixel beside it
        assert abs(int(out.y[2, 19]) - (100 - bleed)) <= 1
        assert abs(int(out.y[2, 20]) - (140 + bleed)) <= 1
        assert (out.y[:, :17] == 100).all()
        assert (out.y[:, 23:] == 140).all()


class TestPixelate:
    def test_blocks_are_their_means_and_chroma_blocks_lie_on_luma_blocks(self) -> None:
        frame = flat(8, 8)
        frame.y[:] = np.arange(64).reshape(8, 8)
        frame.u[:] = np.arange(16).reshape(4, 4) * 10
        out = create("Pixelate", {"block": 4}).cpu(frame)
        for row in (0, 4):
            for column in (0, 4):
                mean = frame.y[row : row + 4, column : column + 4].mean()
                assert np.abs(out.y[row : row + 4, column : column + 4] - mean).max() <= 0.5
                half = np.s_[row // 2 : row // 2 + 2, column // 2 : column // 2 + 2]
                assert np.abs(out.u[half] - frame.u[half].mean()).max() <= 0.5

    def test_a_cut_block_repeats_the_edge(self) -> None:
        frame = flat(5, 1, y=0)
        frame.y[0] = [10, 20, 30, 40, 99]
        assert create("Pixelate", {"block": 4}).cpu(frame).y[0].tolist() == [25, 25, 25, 25, 99]


class TestConvolutionBench:
    def test_mean_and_spread_of_the_luma_stay(self) -> None:
        frame = flat(64, 48)
        frame.y[:] = np.random.default_rng(1).normal(120, 20, frame.y.shape).clip(0, 255)
        out = create("ConvolutionBench", {"iterations": 10}).cpu(frame)
        assert abs(float(out.y.mean()) - float(frame.y.mean())) < 0.5
        assert abs(float(out.y.std()) - float(frame.y.std())) < 0.5
        # Smooth now: neighbours differ far less than before.
        assert np.abs(np.diff(out.y.astype(int))).mean() < 0.3 * np.abs(np.diff(frame.y.astype(int))).mean()

    def test_a_flat_picture_survives_the_normalisation(self) -> None:
        assert same(create("ConvolutionBench", {"iterations": 50}).cpu(flat(9, 7, y=90)), flat(9, 7, y=90))
