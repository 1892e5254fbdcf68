"""The engine on a GPU: frames a second and latency by effect and batch, and sessions until p95 passes 20 and 50 ms.

    python bench/gpu.py [--device cuda] [--size 1280x720] [--effects GaussianBlur,...] [--batches 1,4,16]

Against the same effect in eager torch, one frame at a time. Copies to the device and back are part of every figure.
Prints a table and writes build/bench/gpu.json. Without CUDA it says so, writes the rows without figures, and ends well.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from media_report import FOLDER, row, show, write

from mediapod.effects import EFFECTS
from mediapod.engine.factory import why_not_cuda

EAGER = "eager torch, one frame at a time"
REASONS = {
    "torch_missing": "PyTorch is not installed here",
    "cuda_unavailable": "there is no CUDA device here",
    "cuda_broken": "a calculation on the CUDA device failed",
}
LIMITS_MILLISECONDS = (20.0, 50.0)
SESSION_EFFECTS = ("GaussianBlur", "ConvolutionBench")
# design: POST /process with 1920x1080 and 10 iterations below 20 ms on a GPU; the effect must fit in.
TARGETS = {("ConvolutionBench", "1920x1080", 1): 20.0}


@dataclass(frozen=True)
class Plan:
    """What is measured. seconds: of each timing and of each window with sessions."""

    device: str
    sizes: tuple[str, ...]
    effects: tuple[str, ...]
    batches: tuple[int, ...]
    seconds: float
    most_sessions: int


def effect_rows(plan: Plan, reason: str | None) -> list[dict[str, Any]]:
    """Frames a second and milliseconds a batch."""
    rows: list[dict[str, Any]] = []
    for size in plan.sizes:
        for effect in plan.effects:
            rows += _unmeasured(plan, effect, size, reason) if reason else _timed(plan, effect, size)
    return rows


def _names(effect: str, size: str, batch: int) -> tuple[str, str, str]:
    where = f"{effect} {size}, batch {batch}"
    return f"{where}: frames a second", f"{where}: p50", f"{where}: p95"


def _unmeasured(plan: Plan, effect: str, size: str, reason: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for batch in plan.batches:
        rate, *latencies = _names(effect, size, batch)
        rows.append(row(rate, "frames/s", [], {}, higher=True, note=reason))
        rows += [row(latency, "ms", [], {}, note=reason) for latency in latencies]
    return rows


def _timed(plan: Plan, effect: str, size: str) -> list[dict[str, Any]]:
    import gpu_effects

    width, height = map(int, size.split("x"))
    usual = gpu_effects.time_usual(plan.device, effect, gpu_effects.picture(width, height), plan.seconds)
    rows: list[dict[str, Any]] = []
    for batch in plan.batches:
        frames = [gpu_effects.picture(width, height, seed) for seed in range(batch)]
        ours = gpu_effects.time_ours(plan.device, effect, frames, plan.seconds)
        rate, p50, p95 = _names(effect, size, batch)
        peers = {EAGER: usual} if usual else {}
        eager = {name: [one.frames_per_second] for name, one in peers.items()}
        rows.append(row(rate, "frames/s", [ours.frames_per_second], eager, higher=True))
        slow = {name: [one.p50_milliseconds] for name, one in peers.items()}
        target = TARGETS.get((effect, size, batch))
        rows.append(row(p50, "ms", [ours.p50_milliseconds], slow, target=target, note="of a whole batch"))
        slow = {name: [one.p95_milliseconds] for name, one in peers.items()}
        rows.append(row(p95, "ms", [ours.p95_milliseconds], slow, note="of a whole batch"))
    return rows


async def session_rows(plan: Plan, reason: str | None) -> list[dict[str, Any]]:
    """Sessions at 30 frames a second until p95 passes each limit."""
    rows: list[dict[str, Any]] = []
    for effect in [name for name in SESSION_EFFECTS if name in plan.effects]:
        for size in plan.sizes:
            measured = {} if reason else await _p95(plan, effect, size)
            rows += [_knee_row(effect, size, limit, measured, reason or "") for limit in LIMITS_MILLISECONDS]
    return rows


async def _p95(plan: Plan, effect: str, size: str) -> dict[str, dict[int, float]]:
    import gpu_effects
    import gpu_sessions

    width, height = map(int, size.split("x"))
    frame, most = gpu_effects.picture(width, height), max(LIMITS_MILLISECONDS)
    found = {}
    for name, engine in (("ours", gpu_sessions.ours), (EAGER, gpu_sessions.one_at_a_time)):
        open_engine = partial(engine, plan.device, effect)
        found[name] = await gpu_sessions.p95_by_sessions(open_engine, frame, plan.seconds, most, plan.most_sessions)
    return found


def _knee_row(
    effect: str, size: str, limit: float, measured: dict[str, dict[int, float]], reason: str
) -> dict[str, Any]:
    measure = f"{effect} {size}: sessions at 30 fps until p95 passes {limit:g} ms"
    if not measured:
        return row(measure, "sessions", [], {}, higher=True, note=reason)
    import gpu_sessions

    knees = {name: [float(gpu_sessions.knee(p95, limit))] for name, p95 in measured.items()}
    curve = ", ".join(f"{sessions}: {p95:.1f}" for sessions, p95 in sorted(measured["ours"].items()))
    return row(measure, "sessions", knees.pop("ours"), knees, higher=True, note=f"p95 in ms by sessions: {curve}")


def rig(device: str) -> dict[str, object]:
    """What the figures depend on, of torch and the device."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else device
    return {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda}


def plan_of(arguments: Sequence[str] | None) -> tuple[Plan, Path]:
    """The plan and where the result goes, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the benchmark itself")
    parser.add_argument("--size", action="append", metavar="WIDTHxHEIGHT", help="even numbers; may be repeated")
    parser.add_argument("--effects", default=",".join(sorted(set(EFFECTS) - {"TorchModule", "Passthrough"})))
    parser.add_argument("--batches", default="1,4,16")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--most-sessions", type=int, default=1024)
    parser.add_argument("--output", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    batches = tuple(int(batch) for batch in given.batches.split(","))
    sizes, effects = tuple(given.size or ("1280x720", "1920x1080")), tuple(given.effects.split(","))
    return Plan(given.device, sizes, effects, batches, given.seconds, given.most_sessions), given.output


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    plan, folder = plan_of(arguments)
    reason = REASONS[why_not_cuda() or ""] if plan.device == "cuda" and why_not_cuda() else None
    rows = effect_rows(plan, reason) + asyncio.run(session_rows(plan, reason))
    if reason:
        sys.stdout.write(f"Not measured: {reason}. bench/gpu.py needs a GPU with CUDA and PyTorch.\n")
    else:
        show(rows, "effects on the GPU; red: the peer or the target is better")
    path = write("gpu", rows, {} if reason else rig(plan.device), folder)
    sys.stdout.write(f"written to {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
