"""Milliseconds a frame of every effect on one core: our CPU form, our torch form, and torch as it is usually written.

    python bench/effects.py [--quick]

Prints a table and writes build/bench/effects.json. "torch as usual" takes I420 to RGB, works on one float32 NCHW tensor
in 0..1 (a Gaussian as one 2-D depthwise convolution) and goes back. Everything runs on one thread, in one process, the
contestants in random order in every round. On the CPU it is CPU time that counts, so that a busy machine blurs the
result less; on CUDA it is wall time.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from mediapod.effects import EFFECTS, create
from mediapod.engine.stages import Stage
from mediapod.frames.i420 import I420Frame

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
COMPARED = sorted(set(EFFECTS) - {"TorchModule"})  # that one is as fast as the user's model
PARAMETERS: dict[str, dict[str, object]] = {
    "GaussianBlur": {"radius": 7},
    "Translate": {"x": 41, "y": -17},
    "ColorCorrection": {"brightness": 0.1, "contrast": 1.2, "saturation": 1.3, "hue": 15.0, "gamma": 1.4},
    "ConvolutionBench": {"iterations": 10},
}
TORCH, USUAL = "our torch form, CPU", "torch as usual (RGB, NCHW)"
# design: POST /process with 1920x1080 and 10 iterations within 200 ms on one core; the effect must fit in.
TARGETS_MILLISECONDS = {("ConvolutionBench", "1080p"): 200.0}
OUTPUT = Path(__file__).parents[1] / "build" / "bench" / "effects.json"
# A slow contestant gets fewer rounds, so that the whole run stays within minutes; at least three.
BUDGET_SECONDS = 2.0

Work = Callable[[], object]
Clock = Callable[[], float]


def picture(size: str) -> I420Frame:
    """Return noise on a gradient: neither flat nor random everywhere."""
    width, height = SIZES[size]
    source = np.random.default_rng(1)
    ramp = np.linspace(16, 200, width)[None] + source.integers(0, 32, (height, width))
    chroma = (height // 2, width // 2)
    return I420Frame(
        y=ramp.astype(np.uint8),
        u=source.integers(90, 160, chroma, np.uint8),
        v=source.integers(90, 160, chroma, np.uint8),
    )


def torch_form(name: str, frame: I420Frame, device: str) -> Work:
    """Return the run of our torch form with everything around it: staging, both copies, rounding."""
    from mediapod.engine.torch_runner import TorchRunner

    runner, stages = TorchRunner(device), [Stage(name, create(name, PARAMETERS.get(name, {})))]
    return lambda: runner.run(stages, [frame])


def usual_torch(name: str, frame: I420Frame) -> Work | None:
    """Return the effect as it is usually written with torch, None where there is no usual way."""
    operation = USUAL_OPERATIONS.get(name)
    return None if operation is None else lambda: through_rgb(frame, operation)


def through_rgb(frame: I420Frame, operation: Callable[[Any], Any]) -> object:
    """Run `operation` on (1, 3, H, W) float32 in 0..1, from I420 and back."""
    import torch

    stacked = np.concatenate([frame.y.ravel(), frame.u.ravel(), frame.v.ravel()])
    rgb = cv2.cvtColor(stacked.reshape(frame.height * 3 // 2, frame.width), cv2.COLOR_YUV2RGB_I420)
    with torch.inference_mode():
        tensor = torch.from_numpy(rgb).permute(2, 0, 1)[None].float().contiguous() / 255
        result = (operation(tensor).clamp(0, 1) * 255).round().to(torch.uint8)[0].permute(1, 2, 0).contiguous()
    return cv2.cvtColor(result.numpy(), cv2.COLOR_RGB2YUV_I420)


def usual_blur(tensor: Any) -> Any:
    """Blur with one 15x15 depthwise convolution."""
    import torch

    offsets = torch.arange(-7, 8)
    row = torch.exp(-(offsets**2) / (2 * 2.6**2))
    kernel = torch.outer(row, row) / row.sum() ** 2
    padded = torch.nn.functional.pad(tensor, (7, 7, 7, 7), mode="replicate")
    return torch.nn.functional.conv2d(padded, kernel.expand(3, 1, 15, 15).contiguous(), groups=3)


def usual_translate(tensor: Any) -> Any:
    """Move with affine_grid and grid_sample."""
    import torch

    height, width = tensor.shape[-2:]
    matrix = torch.tensor([[[1, 0, -2 * 41 / width], [0, 1, 2 * 17 / height]]])
    grid = torch.nn.functional.affine_grid(matrix, list(tensor.shape), align_corners=False)
    return torch.nn.functional.grid_sample(tensor, grid, align_corners=False)


def usual_color(tensor: Any) -> Any:
    """Gamma, contrast and brightness on RGB, then saturation and hue as one 3x3 matrix in YIQ."""
    import torch

    toned = tensor.pow(1 / 1.4)
    toned = (1.2 * (toned - 0.5) + 0.6).clamp(0, 1)
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = 1.3 * math.cos(math.radians(15)), 1.3 * math.sin(math.radians(15))
    turn = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_yiq) @ turn @ to_yiq, toned)


def usual_convolutions(tensor: Any) -> Any:
    """Ten rounds of a depthwise 3x3 convolution and a normalisation."""
    import torch

    row = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(row, row).expand(3, 1, 3, 3).contiguous()
    for _ in range(10):
        tensor = torch.nn.functional.conv2d(tensor, kernel, padding=1, groups=3)
        tensor = torch.nn.functional.instance_norm(tensor)
    return tensor


USUAL_OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "GaussianBlur": usual_blur,
    "Translate": usual_translate,
    "ColorCorrection": usual_color,
    "ConvolutionBench": usual_convolutions,
}


def measure(contestants: dict[str, Work], rounds: int, clock: Clock = time.thread_time) -> dict[str, list[float]]:
    """Return contestant -> milliseconds of each round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    once = {name: milliseconds(work, clock) for name, work in contestants.items()}
    wanted = {name: max(3, min(rounds, int(BUDGET_SECONDS * 1000 / max(once[name], 1e-3)))) for name in contestants}
    for _ in range(max(wanted.values())):
        open_names = [name for name in contestants if len(times[name]) < wanted[name]]
        for name in random.sample(open_names, len(open_names)):
            times[name].append(milliseconds(contestants[name], clock))
    return times


def milliseconds(work: Work, clock: Clock) -> float:
    """Return the time of one call."""
    start = clock()
    work()
    return 1000 * (clock() - start)


def spread(times: list[float]) -> list[float]:
    """Return the quartiles next to the median."""
    low, _, high = statistics.quantiles(times, n=4)
    return [round(low, 3), round(high, 3)]


def row(name: str, size: str, rounds: int, have_torch: bool) -> dict[str, Any]:
    """Measure one effect at one size."""
    frame, effect = picture(size), create(name, PARAMETERS.get(name, {}))
    contestants: dict[str, Work] = {"ours": lambda: effect.cpu(frame)}
    if have_torch:
        contestants[TORCH] = torch_form(name, frame, "cpu")
        usual = usual_torch(name, frame)
        contestants |= {USUAL: usual} if usual else {}
    times = measure(contestants, rounds)
    medians = {contestant: round(statistics.median(values), 3) for contestant, values in times.items()}
    return {
        "measure": f"{name} {size}",
        "unit": "ms/frame",
        "direction": "lower",
        "ours": medians.pop("ours"),
        "spread": spread(times["ours"]),
        "peers": medians,
        "target": TARGETS_MILLISECONDS.get((name, size)),
        "note": f"{PARAMETERS.get(name, 'defaults')}; {len(times['ours'])} rounds"
        + ("" if have_torch else "; no torch"),
    }


def cuda_row(name: str, size: str, rounds: int, have_torch: bool) -> dict[str, Any]:
    """Measure one effect on CUDA, both copies included, one frame a batch."""
    result: dict[str, Any] = {"measure": f"{name} {size} on CUDA", "unit": "ms/frame", "direction": "lower"}
    result |= {"ours": None, "spread": None, "peers": {}, "target": None, "note": "no CUDA device on this rig"}
    if have_torch:
        import torch

        if torch.cuda.is_available():
            times = measure({"ours": torch_form(name, picture(size), "cuda")}, rounds, time.perf_counter)["ours"]
            result |= {"ours": round(statistics.median(times), 3), "spread": spread(times), "note": "batch of one"}
    return result


def one_thread() -> bool:
    """Hold OpenCV and torch to one thread; return whether torch is there."""
    cv2.setNumThreads(1)
    try:
        import torch
    except ImportError:
        return False
    torch.set_num_threads(1)
    return True


def report(rows: list[dict[str, Any]], have_torch: bool) -> dict[str, Any]:
    """Return what a benchmark writes."""
    names = ["numpy", "opencv-python-headless", *(["torch"] if have_torch else [])]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
    rig = {"cpu": cpu_model(), "cores": os.cpu_count(), "versions": versions, "load": os.getloadavg()}
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"benchmark": "effects", "date": date, "commit": commit, "rig": rig, "rows": rows}


def cpu_model() -> str:
    """Return the processor's name as the kernel gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table; where we lose, the peer's number is red."""
    table = Table("effect", "ours, CPU", "quartiles", TORCH, USUAL, title="ms a frame, one thread, medians")
    for line in rows:
        if line["ours"] is None:
            continue
        cells = [line["peers"].get(peer) for peer in (TORCH, USUAL)]
        shown = ["-" if c is None else f"[red]{c:.2f}[/red]" if c < line["ours"] else f"{c:.2f}" for c in cells]
        table.add_row(
            line["measure"], f"{line['ours']:.2f}", f"{line['spread'][0]:.2f}..{line['spread'][1]:.2f}", *shown
        )
    Console(width=120).print(table)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="720p only, 7 rounds: for a look, not for a record")
    quick = parser.parse_args().quick
    sizes, rounds = (["720p"], 7) if quick else (list(SIZES), 31)
    have_torch = one_thread()
    rows = [row(name, size, rounds, have_torch) for size in sizes for name in COMPARED]
    rows += [cuda_row(name, size, rounds, have_torch) for size in sizes for name in COMPARED]
    show(rows)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(report(rows, have_torch), indent=2) + "\n")
    print(f"written: {OUTPUT}")


if __name__ == "__main__":
    main()
