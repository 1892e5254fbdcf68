"""The user's own model: from a file or an installed package, isolated, and refused at start when it cannot run."""

import importlib.util
import time
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: the user's model cannot run")

from mediapod.effects import create  # noqa: E402  after the check for torch
from mediapod.effects.effect import PlaneBatch  # noqa: E402
from mediapod.effects.rgb import planes_to_rgb, rgb_to_planes  # noqa: E402
from mediapod.engine import EffectError, InvalidStages, StageSpec, build_engine  # noqa: E402
from mediapod.engine.stages import build_stages  # noqa: E402
from mediapod.engine.torch import TorchEngine  # noqa: E402
from mediapod.process.pictures import generated_picture  # noqa: E402

BUILDER = Path(__file__).parents[2] / "examples" / "torch-module" / "build_model.py"


class Negative(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return 1 - pictures


class Smaller(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures[..., 1:]


class Raising(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no luck today")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> str:
    spec = importlib.util.spec_from_file_location("build_model", BUILDER)
    assert spec is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)  # type: ignore[union-attr]
    path = str(tmp_path_factory.mktemp("model") / "warm.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        builder.build(path)
    return path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """`installed(Negative)`: as if a package had this entry point; returns its name."""

    def install(module: type) -> str:
        entry = metadata.EntryPoint(module.__name__.lower(), f"package.module:{module.__name__}", "mediapod.effects")
        monkeypatch.setattr(metadata.EntryPoint, "load", lambda _self: module)
        monkeypatch.setattr(metadata, "entry_points", lambda group: metadata.EntryPoints([entry]))
        return entry.name

    return install


def stage(model: str, **parameters: object) -> list[StageSpec]:
    return [StageSpec("mine", "TorchModule", {"model": model, **parameters})]


async def run(stages: list[StageSpec], frame):
    engine = build_engine(stages, "CPU")
    await engine.start()
    try:
        return (await engine.process(frame, time.monotonic() + 60)).frame
    finally:
        await engine.stop()


@pytest.mark.parametrize("size", [(64, 48), (63, 35)])
async def test_the_example_model_is_built_exported_and_run(example: str, size: tuple[int, int]) -> None:
    frame = generated_picture(*size)
    result = await run(stage(example), frame)
    assert (result.width, result.height, result.u.shape) == (*size, frame.u.shape)
    assert result.v.mean() > frame.v.mean() + 5, "warmer"
    middle, corner = result.y[size[1] // 3 : -size[1] // 3, size[0] // 3 : -size[0] // 3], result.y[:6, :6]
    assert middle.mean() / frame.y.mean() > corner.mean() / frame.y[:6, :6].mean(), "darker at the edges"


async def test_a_batch_of_the_torch_engine_gives_the_same_picture(example: str) -> None:
    frame = generated_picture(64, 48)
    alone = await run(stage(example), frame)
    engine = TorchEngine(build_stages(stage(example)), "cpu", on_fallback=lambda _: None)
    await engine.start()
    try:
        batched = (await engine.process(frame, time.monotonic() + 60)).frame
    finally:
        await engine.stop()
    assert np.abs(alone.y.astype(int) - batched.y).max() <= 2


def test_rgb_and_back_changes_little() -> None:
    frame = generated_picture(33, 21)
    batch = PlaneBatch(
        *(torch.from_numpy(plane.astype(np.float32))[None, None] for plane in (frame.y, frame.u, frame.v))
    )
    back = rgb_to_planes(planes_to_rgb(batch))
    for before, after in zip(batch.planes, back.planes, strict=True):
        assert (before.clamp(16, 235) - after).abs().max() < 1


async def test_a_class_of_an_installed_package(installed) -> None:
    frame = generated_picture(32, 32)
    result = await run(stage(installed(Negative), layout="Luma"), frame)
    assert np.abs(result.y.astype(int) - (251 - np.clip(frame.y, 16, 235).astype(int))).max() <= 1
    assert (result.u == frame.u).all()


async def test_torchscript_still_runs(tmp_path: Path) -> None:
    path = tmp_path / "negative.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is being retired
        torch.jit.script(Negative()).save(str(path))
        result = await run(stage(str(path), layout="Luma"), generated_picture(32, 32))
    assert result.y.mean() != generated_picture(32, 32).y.mean()


@pytest.mark.parametrize(("module", "words"), [(Raising, "no luck today"), (Smaller, "same shape")])
async def test_what_a_model_does_wrong_is_an_error_of_one_frame(installed, module: type, words: str) -> None:
    stages = stage(installed(module))
    with pytest.raises(EffectError, match=words):
        await run(stages, generated_picture(32, 32))


async def test_a_model_for_multiples_of_32_gets_them(installed) -> None:
    seen: list[tuple[int, ...]] = []

    class Noting(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(pictures.shape[-2:]))
            return pictures

    result = await run(stage(installed(Noting), multiple=32), generated_picture(50, 30))
    assert seen[-1] == (32, 64)
    assert (result.width, result.height) == (50, 30)


@pytest.mark.parametrize(
    ("model", "words"),
    [("/no/such/file.pt2", "no file"), ("/etc/hostname", "unknown suffix"), ("nobody", "no entry point")],
)
def test_a_model_that_is_not_there_is_refused_at_start(model: str, words: str) -> None:
    with pytest.raises(InvalidStages, match=words) as refused:
        build_stages(stage(model))
    assert refused.value.errors[0]["field"] == "stages[0].parameters.model"


def test_a_damaged_file_is_refused_at_start(tmp_path: Path) -> None:
    path = tmp_path / "broken.pt2"
    path.write_bytes(b"this is no model")
    with pytest.raises(InvalidStages, match="cannot be loaded"):
        build_stages(stage(str(path)))


def test_the_parameters_are_checked() -> None:
    with pytest.raises(InvalidStages, match=r"parameters\.model"):
        build_stages([StageSpec("mine", "TorchModule", {})])
    with pytest.raises(InvalidStages, match="layout"):
        build_stages(stage("x", layout="CMYK"))
    assert create("Passthrough", {}).of_requests
