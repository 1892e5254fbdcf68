"""Which engine a pod gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mediapod.engine.cpu import CpuEngine
from mediapod.engine.interface import Engine
from mediapod.engine.simulated import SimulatedEngine
from mediapod.engine.stages import Stage, StageSpec, build_stages

DEVICES = ("Auto", "GPU", "CPU", "Simulated")

FALLBACK_TORCH_MISSING = "torch_missing"
FALLBACK_CUDA_UNAVAILABLE = "cuda_unavailable"
FALLBACK_CUDA_BROKEN = "cuda_broken"

OnFallback = Callable[[str], None]


def ignore_fallback(reason: str) -> None:
    """Count nothing: for callers without a metric."""


def build_engine(
    stages: Sequence[StageSpec],
    device: str,
    *,
    service_time_seconds: float | None = None,
    on_fallback: OnFallback = ignore_fallback,
    background: bool = False,
) -> Engine:
    """Return the engine for `device`: Auto, GPU, CPU or Simulated (which needs `service_time_seconds`).

    Auto and GPU give CUDA where it works and the CPU otherwise; `on_fallback` is called with the reason, one word of a
    fixed set, then and whenever CUDA fails later (from any thread). Trying CUDA imports torch and takes seconds.
    background: it gives way to other engines on the same processors and the same GPU.
    Raises InvalidStages for stages that cannot run and ValueError for a device that does not exist.
    """
    built = build_stages(stages)
    if device == "CPU":
        return CpuEngine(built, background=background)
    if device == "Simulated":
        if service_time_seconds is None:
            raise ValueError("device Simulated needs service_time_seconds, the time that one frame takes")
        return SimulatedEngine(CpuEngine(built, background=background), service_time_seconds)
    if device in ("Auto", "GPU"):
        return _cuda_or_cpu(built, on_fallback, background)
    raise ValueError(f"device is {device!r}; choose one of {', '.join(DEVICES)}")


def _cuda_or_cpu(stages: Sequence[Stage], on_fallback: OnFallback, background: bool) -> Engine:
    reason = why_not_cuda()
    if reason is not None:
        on_fallback(reason)
        return CpuEngine(stages, background=background)
    from mediapod.engine.torch import TorchEngine

    return TorchEngine(stages, "cuda", on_fallback=on_fallback, background=background)


def why_not_cuda() -> str | None:
    """Return None if a calculation on the CUDA device gives the right answer, else the reason why it cannot be used."""
    try:
        import torch
    except ImportError:
        return FALLBACK_TORCH_MISSING
    try:
        if not torch.cuda.is_available():
            return FALLBACK_CUDA_UNAVAILABLE
        works = float(torch.ones(8, device="cuda").sum()) == 8.0
    except RuntimeError:  # a driver that does not fit, a device that is taken or out of memory
        works = False
    return None if works else FALLBACK_CUDA_BROKEN
