"""What the checks expect of an effect is what the service's effect does: each one is seen, and none where it is not."""

from typing import Any

import cv2
import numpy as np
import pytest

from devcluster.load.drawing import draw
from devcluster.load.layout import Layout
from devcluster.load.marks import Picture, effect_seen, measure_patches, read_number, rgb_of_i420
from mediapod.effects.registry import create
from mediapod.frames.i420 import I420Frame

LAYOUT = Layout(320, 240)
STAGES: list[tuple[str, dict[str, Any]]] = [
    ("GaussianBlur", {"radius": 1}),
    ("GaussianBlur", {"radius": 7}),
    ("GaussianBlur", {"radius": 9, "sigma": 6}),
    *(("ColorCorrection", {"saturation": factor}) for factor in (0, 0.5, 1.6)),
    *(("ColorCorrection", {"hue": degrees}) for degrees in (90, -120, 180)),
    *(("ColorCorrection", {"gamma": gamma}) for gamma in (0.5, 2)),
    *(("ColorCorrection", {"contrast": factor}) for factor in (0.5, 1.5)),
    ("ColorCorrection", {"brightness": -0.3, "saturation": 0}),
    ("Translate", {"x": 20, "y": 0}),
    ("Translate", {"x": -8, "y": 40}),
]


def _processed(picture: Picture, effect: str, parameters: dict[str, Any]) -> Picture:
    """The picture through the service's CPU effect, in I420 as in the service."""
    flat = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).ravel()
    luma, chroma = LAYOUT.width * LAYOUT.height, LAYOUT.width * LAYOUT.height // 4
    planes = flat[:luma], flat[luma : luma + chroma], flat[luma + chroma :]
    shapes = (
        (LAYOUT.height, LAYOUT.width),
        (LAYOUT.height // 2, LAYOUT.width // 2),
        (LAYOUT.height // 2, LAYOUT.width // 2),
    )
    y, u, v = (plane.reshape(shape).copy() for plane, shape in zip(planes, shapes, strict=True))
    after = create(effect, parameters).cpu(I420Frame(y=y, u=u, v=v))
    joined = np.concatenate([np.ascontiguousarray(plane).ravel() for plane in (after.y, after.u, after.v)])
    return rgb_of_i420(joined.reshape(LAYOUT.height * 3 // 2, LAYOUT.width))


@pytest.mark.parametrize(("effect", "parameters"), STAGES, ids=[f"{effect} {values}" for effect, values in STAGES])
def test_an_effect_of_the_service_is_seen_and_its_absence_too(effect: str, parameters: dict[str, Any]) -> None:
    stages = [{"name": "one", "effect": effect, "parameters": parameters}]
    before = measure_patches(draw(LAYOUT, 1))
    processed = _processed(draw(LAYOUT, 12_345), effect, parameters)
    after, plain = measure_patches(processed), measure_patches(_processed(draw(LAYOUT, 2), "Passthrough", {}))
    assert before is not None
    assert after is not None
    assert plain is not None
    assert read_number(processed) == 12_345
    assert effect_seen(before, after, stages).answer == "seen", effect_seen(before, after, stages).reason
    assert effect_seen(before, plain, stages).answer == "not seen"
