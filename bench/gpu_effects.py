"""Frames a second and milliseconds a batch of effects on a torch device, copies both ways included: the mediapod's
runner, and torch as it is usually written, eagerly and one frame at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from effects import PARAMETERS, USUAL_OPERATIONS

from devcluster.load.statistics import percentile
from mediapod.effects import create
from mediapod.engine.stages import Stage
from mediapod.engine.torch_runner import TorchRunner
from mediapod.frames.i420 import I420Frame
from mediapod.frames.motion import motion_shape

LEAST_ROUNDS = 5

Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """What some rounds of a batch took."""

    frames_per_second: float
    p50_milliseconds: float
    p95_milliseconds: float


def picture(width: int, height: int, seed: int = 1) -> I420Frame:
    """Noise on a gradient, moving in half of its cells."""
    source = np.random.default_rng(seed)
    ramp = np.linspace(16, 200, width)[None] + source.integers(0, 32, (height, width))
    chroma = ((height + 1) // 2, (width + 1) // 2)
    u, v = (source.integers(90, 160, chroma, np.uint8) for _ in range(2))
    motion = source.integers(0, 2, motion_shape(height, width)).astype(np.uint8) * 64
    return I420Frame(ramp.astype(np.uint8), u, v, motion)


def stages_of(effect: str) -> list[Stage]:
    """The effect alone, with the parameters of bench/effects.py."""
    return [Stage(effect, create(effect, PARAMETERS.get(effect, {})))]


def time_ours(device: str, effect: str, frames: Sequence[I420Frame], seconds: float) -> Timing:
    """The batch as the mediapod's engine launches it."""
    runner, stages = TorchRunner(device), stages_of(effect)
    return timing(lambda: runner.run(stages, frames), len(frames), seconds)


def time_usual(device: str, effect: str, frame: I420Frame, seconds: float) -> Timing | None:
    """One frame, as torch is usually written; None where there is no usual way."""
    if effect not in USUAL_OPERATIONS:
        return None
    return timing(lambda: usual(device, effect, frame), 1, seconds)


def usual(device: str, effect: str, frame: I420Frame) -> I420Frame:
    """I420 to RGB on the CPU, up, float32 NCHW in 0..1, the operation, down, and back to I420."""
    stacked = np.concatenate([np.ascontiguousarray(plane).ravel() for plane in (frame.y, frame.u, frame.v)])
    rgb = cv2.cvtColor(stacked.reshape(frame.height * 3 // 2, frame.width), cv2.COLOR_YUV2RGB_I420)
    with torch.inference_mode(), torch.device(device):
        tensor = torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None].float() / 255
        changed = USUAL_OPERATIONS[effect](tensor).clamp(0, 1) * 255
        result = changed.round().to(torch.uint8)[0].permute(1, 2, 0).contiguous().cpu()
    planes = cv2.cvtColor(result.numpy(), cv2.COLOR_RGB2YUV_I420).ravel()
    luma, chroma = frame.width * frame.height, frame.width * frame.height // 4
    shape = (frame.height // 2, frame.width // 2)
    y, u, v = np.split(planes, [luma, luma + chroma])
    return I420Frame(y.reshape(frame.height, frame.width), u.reshape(shape), v.reshape(shape))


def timing(work: Work, frames: int, seconds: float) -> Timing:
    """Run `work`, which ends with the result in main memory, for `seconds` after two rounds to warm up."""
    for _ in range(2):
        work()
    rounds: list[float] = []
    began = time.perf_counter()
    while len(rounds) < LEAST_ROUNDS or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        rounds.append(1000 * (time.perf_counter() - start))
    whole = time.perf_counter() - began
    p50, p95 = (percentile(rounds, share) or 0.0 for share in (0.5, 0.95))
    return Timing(frames * len(rounds) / whole, p50, p95)
