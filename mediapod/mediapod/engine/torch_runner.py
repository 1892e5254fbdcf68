"""Batches of planes through the torch form of the effects, on CUDA or (for tests) on the CPU.

Each thread has a lane of its own: pinned buffers and three streams (upload, compute, download), so the copies of one
batch overlap with the work of another. The thread waits for its own download's event; nothing ever waits for the
whole device.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from mediapod.effects import PlaneBatch
from mediapod.engine.fallback import DeviceError
from mediapod.engine.interface import EffectError
from mediapod.engine.stages import Stage
from mediapod.frames.i420 import I420Frame
from mediapod.frames.motion import MOST, motion_shape

REASON_OUT_OF_MEMORY = "out_of_memory"
REASON_CUDA_ERROR = "cuda_error"
LIVE_STREAM_PRIORITY = -1  # lower numbers go first where the device has a choice
_CUDA_WORDS = ("CUDA", "cuDNN", "CUDNN", "CUBLAS", "NVRTC", "device-side")


class TorchRunner:
    """Runner for one torch device ("cuda" or "cpu")."""

    def __init__(self, device: str, *, background: bool = False) -> None:
        self.device = device
        self._priority = 0 if background else LIVE_STREAM_PRIORITY
        self._dtype = torch.float16 if device == "cuda" else torch.float32
        self._lanes = threading.local()

    def run(self, stages: Sequence[Stage], frames: Sequence[I420Frame]) -> list[I420Frame]:
        """Return the processed frames; all must have one size. Raises DeviceError or EffectError."""
        try:
            with torch.inference_mode():
                return self._lane().run(stages, frames)
        except EffectError:
            raise
        except RuntimeError as failure:  # a copy or a wait failed: work of any stage may be what broke the device
            raise self._device_error(failure, None) from failure

    def _lane(self) -> _Lane:
        if not hasattr(self._lanes, "lane"):
            self._lanes.lane = _Lane(self.device, self._dtype, self._priority)
        lane: _Lane = self._lanes.lane
        return lane

    @staticmethod
    def _device_error(failure: RuntimeError, stage: Stage | None) -> DeviceError:
        return DeviceError(fallback_reason(failure) or REASON_CUDA_ERROR, stage)


def fallback_reason(failure: Exception) -> str | None:
    """Return the reason word if `failure` is the device's, None if it is the effect's own."""
    if isinstance(failure, torch.OutOfMemoryError):
        return REASON_OUT_OF_MEMORY
    if isinstance(failure, torch.AcceleratorError):
        return REASON_CUDA_ERROR
    if isinstance(failure, RuntimeError) and any(word in str(failure) for word in _CUDA_WORDS):
        return REASON_CUDA_ERROR
    return None


class _Staging(NamedTuple):
    """Page-locked uint8 planes, and maps of motion, for up to `capacity` frames of one size."""

    y: torch.Tensor
    u: torch.Tensor
    v: torch.Tensor
    motion: torch.Tensor

    @property
    def planes(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What goes there and comes back."""
        return self.y, self.u, self.v


class _Lane:
    """The buffers and streams of one thread."""

    def __init__(self, device: str, dtype: torch.dtype, priority: int) -> None:
        self._priority = priority
        self._device = torch.device(device)
        self._dtype = dtype
        self._on_cuda = device == "cuda"
        self._upload, self._compute, self._download = (self._new_stream() for _ in range(3))
        self._staging: dict[tuple[int, int], _Staging] = {}

    def run(self, stages: Sequence[Stage], frames: Sequence[I420Frame]) -> list[I420Frame]:
        staging = self._staging_for(frames)
        _fill(staging, frames)
        sent = staging if any(stage.effect.sees_motion for stage in stages) else staging.planes
        with torch.cuda.stream(self._upload):
            raw = [plane[: len(frames)].to(self._device, non_blocking=True) for plane in sent]
        self._follow(self._compute, self._upload)
        with torch.cuda.stream(self._compute):
            batch = PlaneBatch(*(plane.to(self._dtype) for plane in raw))
            batch = _run_stages(stages, batch)
            finished = [plane.round().clamp_(0, 255).to(torch.uint8) for plane in batch.planes]
        self._follow(self._download, self._compute)
        with torch.cuda.stream(self._download):
            for target, plane in zip(staging.planes, finished, strict=True):
                target[: len(frames)].copy_(plane, non_blocking=True)
        # `raw` and `finished` are used on streams that did not allocate them; they live until this wait is over.
        self._wait(self._download)
        return _read(staging, frames)

    def _staging_for(self, frames: Sequence[I420Frame]) -> _Staging:
        size = (frames[0].height, frames[0].width)
        kept = self._staging.get(size)
        if kept is None or kept.y.shape[0] < len(frames):
            # One size at a time: cameras change resolution rarely, and page-locked memory is dear.
            self._staging = {size: self._new_staging(frames[0], len(frames))}
        return self._staging[size]

    def _new_staging(self, frame: I420Frame, count: int) -> _Staging:
        capacity = 1 << (count - 1).bit_length()
        planes = [plane.shape for plane in (frame.y, frame.u, frame.v)]
        shapes = [(capacity, 1, *shape) for shape in (*planes, motion_shape(frame.height, frame.width))]
        return _Staging(*(torch.empty(shape, dtype=torch.uint8, pin_memory=self._on_cuda) for shape in shapes))

    def _new_stream(self) -> torch.cuda.Stream | None:
        return torch.cuda.Stream(priority=self._priority) if self._on_cuda else None

    @staticmethod
    def _follow(later: torch.cuda.Stream | None, earlier: torch.cuda.Stream | None) -> None:
        if later is not None and earlier is not None:
            later.wait_stream(earlier)

    @staticmethod
    def _wait(stream: torch.cuda.Stream | None) -> None:
        if stream is not None:
            done = torch.cuda.Event(blocking=True)
            done.record(stream)
            done.synchronize()


def _run_stages(stages: Sequence[Stage], batch: PlaneBatch) -> PlaneBatch:
    for stage in stages:
        try:
            batch = replace(stage.effect.torch(batch), motion=batch.motion)
        except Exception as failure:
            reason = fallback_reason(failure)
            if reason is not None:
                raise DeviceError(reason, stage) from failure
            raise EffectError(stage.name, stage.effect.name, repr(failure)) from failure
    return batch


def _fill(staging: _Staging, frames: Sequence[I420Frame]) -> None:
    for index, frame in enumerate(frames):
        for target, plane in zip(staging.planes, (frame.y, frame.u, frame.v), strict=True):
            np.copyto(target[index, 0].numpy(), plane)
        staging.motion[index] = MOST if frame.motion is None else torch.from_numpy(frame.motion)


def _read(staging: _Staging, frames: Sequence[I420Frame]) -> list[I420Frame]:
    y, u, v = staging.planes
    return [
        replace(frame, y=y[index, 0].numpy().copy(), u=u[index, 0].numpy().copy(), v=v[index, 0].numpy().copy())
        for index, frame in enumerate(frames)
    ]
