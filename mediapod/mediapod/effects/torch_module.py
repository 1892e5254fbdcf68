"""TorchModule: the user's own model, from a mounted file or an installed package."""

from __future__ import annotations

import importlib.util
import threading
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mediapod.effects.effect import WHOLE_NUMBER, Effect, EffectUnavailable, Parameters, PlaneBatch
from mediapod.effects.rgb import planes_to_rgb, rgb_to_planes
from mediapod.frames.i420 import I420Frame

if TYPE_CHECKING:
    from torch import Tensor

ENTRY_POINT_GROUP = "mediapod.effects"
EXPORTED, SCRIPTED = ".pt2", (".pt", ".ts")


class TorchModuleParameters(Parameters):
    """Your own PyTorch model. It takes a batch of pictures and returns pictures of the same size."""

    model: str = Field(
        min_length=1,
        max_length=255,
        description="Path of a mounted file: a torch.export program (.pt2) or TorchScript (.pt, .ts). Or the name of "
        f"an entry point of the group {ENTRY_POINT_GROUP} of an installed package, a torch.nn.Module class.",
    )
    layout: Literal["RGB", "Luma"] = Field(
        default="RGB",
        description="What the model takes and returns, float32 from 0 to 1: RGB (B, 3, H, W), Luma (B, 1, H, W).",
    )
    multiple: Annotated[int, Field(ge=1, le=64), WHOLE_NUMBER] = Field(
        default=1, description="Width and height are padded to a multiple of this before the model, and cut after it."
    )


class TorchModule(Effect[TorchModuleParameters]):
    """Runs the model on the device of the engine, on the CPU without one.

    What it raises, and a result of another shape, is an effect's error: the frame goes out unprocessed and is counted.
    """

    name = "TorchModule"
    Parameters = TorchModuleParameters
    of_requests = False  # a file name from the network would be a way to try out paths, and to run what lies there

    def __init__(self, parameters: TorchModuleParameters) -> None:
        super().__init__(parameters)
        self._module = load_module(parameters.model)
        self._moved: dict[str, Any] = {}
        self._lock = threading.Lock()

    def cpu(self, frame: I420Frame) -> I420Frame:
        import torch

        planes = (
            torch.from_numpy(np.array(plane, dtype=np.float32))[None, None] for plane in (frame.y, frame.u, frame.v)
        )
        with torch.inference_mode():
            changed = self.torch(PlaneBatch(*planes))
            rounded = [plane[0, 0].round().clamp(0, 255).to(torch.uint8).numpy() for plane in changed.planes]
        return I420Frame(*rounded)

    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        wide = PlaneBatch(*(plane.float() for plane in batch.planes))
        if self.parameters.layout == "Luma":
            luma = self._run((wide.y - 16) / 219)
            changed = PlaneBatch(16 + 219 * luma, wide.u, wide.v)
        else:
            changed = rgb_to_planes(self._run(planes_to_rgb(wide)))
        return PlaneBatch(*(plane.to(batch.y.dtype) for plane in changed.planes))

    def _run(self, pictures: Tensor) -> Tensor:
        from torch.nn import functional

        height, width = pictures.shape[-2:]
        multiple = self.parameters.multiple
        padded = functional.pad(pictures, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        result = self._on(str(pictures.device))(padded)
        if tuple(getattr(result, "shape", ())) != tuple(padded.shape):
            shape = tuple(getattr(result, "shape", ())) or type(result).__name__
            raise ValueError(f"the model returned {shape} for {tuple(padded.shape)}; it must return the same shape")
        return result[..., :height, :width].float().clamp(0, 1)  # type: ignore[no-any-return]  # a model is anybody's

    def _on(self, device: str) -> Any:
        with self._lock:
            if device not in self._moved:
                self._moved[device] = self._module(device)
            return self._moved[device]


def load_module(model: str) -> Any:
    """Return device -> the callable model there. Raises EffectUnavailable with the reason."""
    if importlib.util.find_spec("torch") is None:
        raise EffectUnavailable("model", "PyTorch is not installed here", ["an image with torch"])
    if "/" not in model:
        return _from_entry_point(model)
    path = Path(model)
    if not path.is_file():
        raise EffectUnavailable("model", f"no file {model}", ["the path of a file in a mounted volume"])
    if path.suffix != EXPORTED and path.suffix not in SCRIPTED:
        raise EffectUnavailable("model", f"{path.name} has an unknown suffix", [EXPORTED, *SCRIPTED])
    try:
        return _exported(path) if path.suffix == EXPORTED else _scripted(path)
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise EffectUnavailable(
            "model", f"{path.name} cannot be loaded: {error!r:.300}", ["a readable model"]
        ) from error


def _exported(path: Path) -> Any:
    import torch
    from torch.export.passes import move_to_device_pass

    program = torch.export.load(str(path))
    return lambda device: move_to_device_pass(program, device).module() if device != "cpu" else program.module()


def _scripted(path: Path) -> Any:
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is being retired; users still have such files
        module = torch.jit.load(str(path), map_location="cpu").eval()
    return lambda device: module if device == "cpu" else torch.jit.load(str(path), map_location=device).eval()


def _from_entry_point(name: str) -> Any:
    found = metadata.entry_points(group=ENTRY_POINT_GROUP)
    if name not in found.names:
        allowed = sorted(found.names) or ["(no installed package has one)"]
        raise EffectUnavailable("model", f"no entry point {name!r} in the group {ENTRY_POINT_GROUP}", allowed)
    try:
        make = found[name].load()
        make().eval()
    except Exception as error:  # it is somebody's code
        raise EffectUnavailable("model", f"entry point {name} failed: {error!r:.300}", ["a torch.nn.Module"]) from error
    return lambda device: make().eval().to(device)
