"""Both forms of every effect give the same picture: within 2/255 a sample, on odd sizes and for any parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediapod.effects import EFFECTS, Effect, create
from mediapod.frames.i420 import I420Frame
from mediapod.frames.motion import motion_shape

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mediapod[torch]'")
torch.set_num_threads(1)  # small pictures: threads that wait for each other cost more than they bring
pytestmark = pytest.mark.filterwarnings("default")  # torch's own deprecations are not ours

TOLERANCE = 2

# TorchModule has one form for both: the user's model (test_torch_module_effect).
COMPARED = sorted(set(EFFECTS) - {"TorchModule"})

# Strategies by effect; an effect without an entry fails test_every_effect_is_compared.
PARAMETERS: dict[str, st.SearchStrategy[dict[str, object]]] = {
    "BackgroundDim": st.fixed_dictionaries(
        {"strength": st.floats(0, 1), "threshold": st.integers(2, 32), "reach": st.integers(0, 8)}
    ),
    "Passthrough": st.just({}),
    "Grayscale": st.just({}),
    "EdgeDetect": st.fixed_dictionaries({"strength": st.floats(0.1, 8)}),
    "Sharpen": st.fixed_dictionaries({"amount": st.floats(0, 4), "radius": st.integers(1, 20)}),
    "Pixelate": st.fixed_dictionaries({"block": st.integers(1, 128).map(lambda half: 2 * half)}),
    "ConvolutionBench": st.fixed_dictionaries({"iterations": st.integers(1, 50)}),
    "GaussianBlur": st.fixed_dictionaries({"radius": st.integers(1, 99)}, optional={"sigma": st.floats(0.01, 100)}),
    "Translate": st.fixed_dictionaries(
        {
            "x": st.integers(-40, 40),
            "y": st.integers(-40, 40),
            "fill": st.sampled_from(["#000000", "#ff8000", "#0020FF"]),
        }
    ),
    "ColorCorrection": st.fixed_dictionaries(
        {
            "brightness": st.floats(-1, 1),
            "contrast": st.floats(0, 4),
            "saturation": st.floats(0, 4),
            "hue": st.floats(-180, 180),
            "gamma": st.floats(0.1, 10),
        }
    ),
}


def noise(width: int, height: int, seed: int) -> I420Frame:
    """Samples over the whole range, limited range exceeded: decoders hand out such pictures."""
    random = np.random.default_rng(seed)
    chroma = ((height + 1) // 2, (width + 1) // 2)
    planes = [random.integers(0, 256, shape, dtype=np.uint8) for shape in ((height, width), chroma, chroma)]
    return I420Frame(*planes, motion=random.integers(0, 65, motion_shape(height, width), dtype=np.uint8))


def through_torch(effect: Effect, frames: list[I420Frame]) -> list[I420Frame]:
    from mediapod.engine.stages import Stage
    from mediapod.engine.torch_runner import TorchRunner

    return TorchRunner("cpu").run([Stage("stage", effect)], frames)


def worst_difference(one: I420Frame, other: I420Frame) -> int:
    pairs = ((one.y, other.y), (one.u, other.u), (one.v, other.v))
    assert all(a.shape == b.shape for a, b in pairs)
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in pairs)


def test_every_effect_is_compared() -> None:
    assert set(PARAMETERS) == set(COMPARED)


@pytest.mark.parametrize("name", COMPARED)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), width=st.integers(1, 75), height=st.integers(1, 75), seed=st.integers(0, 2**32 - 1))
def test_same_picture(name: str, data: st.DataObject, width: int, height: int, seed: int) -> None:
    effect = create(name, data.draw(PARAMETERS[name]))
    frames = [noise(width, height, seed), noise(width, height, seed + 1)]
    for frame, from_torch in zip(frames, through_torch(effect, frames), strict=True):
        assert worst_difference(effect.cpu(frame), from_torch) <= TOLERANCE


@pytest.mark.parametrize("name", COMPARED)
def test_half_precision_stays_close(name: str) -> None:
    """CUDA works in half precision; 40 dB is an error of two and a half levels in the mean."""
    from mediapod.effects import PlaneBatch

    effect = create(name, {"x": 3, "y": -2} if name == "Translate" else {})
    frame = noise(63, 41, 5)
    planes = PlaneBatch(*(torch.tensor(p)[None, None].half() for p in (frame.y, frame.u, frame.v, frame.motion)))
    with torch.inference_mode():
        half = effect.torch(planes)
    expected = effect.cpu(frame)
    for tensor, plane in zip(half.planes, (expected.y, expected.u, expected.v), strict=True):
        assert tensor.dtype == torch.float16
        error = float(((tensor[0, 0].float() - torch.tensor(plane).float()) ** 2).mean())
        assert 10 * math.log10(255**2 / max(error, 1e-9)) >= 40


@pytest.mark.parametrize("name", COMPARED)
def test_the_input_is_left_alone(name: str) -> None:
    effect = create(name, {"x": 3, "y": -2} if name == "Translate" else {})
    frame, copy = noise(31, 17, 1), noise(31, 17, 1)
    for plane in (frame.y, frame.u, frame.v):
        plane.flags.writeable = False
    effect.cpu(frame)
    through_torch(effect, [frame])
    assert worst_difference(frame, copy) == 0


@pytest.mark.parametrize("name", COMPARED)
def test_rows_with_padding_are_read_right(name: str) -> None:
    """Decoders hand out planes whose rows are longer than the picture."""
    effect = create(name, {"x": 3, "y": 1} if name == "Translate" else {})
    whole = noise(96, 48, 3)
    cut = I420Frame(y=whole.y[:35, :61], u=whole.u[:18, :31], v=whole.v[:18, :31])
    packed = I420Frame(y=cut.y.copy(), u=cut.u.copy(), v=cut.v.copy())
    assert worst_difference(effect.cpu(cut), effect.cpu(packed)) == 0
    assert worst_difference(through_torch(effect, [cut])[0], through_torch(effect, [packed])[0]) == 0
