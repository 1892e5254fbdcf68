"""The map of where a picture moves."""

from dataclasses import replace

import numpy as np
import pytest

from mediapod.effects import create
from mediapod.engine.stages import Stage, run_on_cpu
from mediapod.frames.i420 import I420Frame
from mediapod.frames.motion import MOST, MotionMap, motion_shape
from mediapod.frames.ring import FrameRing, copy_into, new_memory

FRAME = 3000  # ticks of 90 kHz at 30 frames a second


def luma(width: int = 160, height: int = 96, shade: int = 100) -> np.ndarray:
    return np.full((height, width), shade, np.uint8)


def test_of_a_first_picture_and_of_a_first_of_its_size_nothing_is_known():
    motion = MotionMap()
    assert (motion.add(luma(), 0) == MOST).all()
    assert (motion.add(luma(80, 48), FRAME) == MOST).all()


def test_what_stands_still_fades_by_half_a_second_per_second_of_the_stream():
    motion = MotionMap()
    motion.add(luma(), 0)
    assert (motion.add(luma(), 90_000) == MOST // 2).all()
    assert (motion.add(luma(), 3 * 90_000) == MOST // 8).all()
    assert (motion.add(luma(), 2 * 90_000) == MOST // 8).all(), "a clock that goes back does not light anything"


def test_a_change_is_noted_where_it_is_by_its_size_and_no_further():
    motion = MotionMap()
    motion.add(luma(), 0)
    motion.add(luma(), 20 * 90_000)  # all faded
    changed = luma()
    changed[32:48, 64:80] = 130
    found = motion.add(changed, 20 * 90_000 + FRAME)
    assert found[2, 4] == 30
    found[2, 4] = 0
    assert (found == 0).all()
    changed[32:48, 64:80] = 0
    assert motion.add(changed, 20 * 90_000 + 2 * FRAME)[2, 4] == MOST


def test_the_noise_of_a_camera_is_no_motion():
    random, motion = np.random.default_rng(3), MotionMap()
    for count in range(40):
        noisy = (luma().astype(int) + random.integers(-12, 13, (96, 160))).astype(np.uint8)
        found = motion.add(noisy, count * 90_000)
    assert found.max() <= 3


@pytest.mark.parametrize(("width", "height", "shape"), [(1, 1, (1, 1)), (16, 17, (2, 1)), (321, 181, (12, 21))])
def test_any_size_has_a_map(width, height, shape):
    assert motion_shape(height, width) == shape
    assert MotionMap().add(luma(width, height), 0).shape == shape


def test_the_map_goes_on_from_stage_to_stage():
    frame = I420Frame(
        luma(), np.full((48, 80), 90, np.uint8), np.full((48, 80), 200, np.uint8), np.zeros((6, 10), np.uint8)
    )
    stages = [Stage("grey", create("Grayscale", {})), Stage("dim", create("BackgroundDim", {"strength": 1}))]
    assert (run_on_cpu(stages, frame).y == 16).all()


def test_the_map_travels_to_the_device_process_with_its_picture():
    ring = FrameRing(new_memory(2 * 4000), 2, 4000)
    chroma = np.full((15, 17), 7, np.uint8)
    frame = I420Frame(luma(33, 29), chroma, chroma, np.arange(6, dtype=np.uint8).reshape(2, 3))
    copy_into(frame, ring.picture(1, 33, 29))
    arrived = ring.picture(1, 33, 29)
    assert (arrived.motion == frame.motion).all()
    assert (arrived.y == frame.y).all()
    copy_into(replace(frame, motion=None), arrived)
    assert (arrived.motion == MOST).all(), "unknown: everything counts as moving"
