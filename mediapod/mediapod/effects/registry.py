"""The effects that a stage can name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mediapod.effects.background_dim import BackgroundDim
from mediapod.effects.color_correction import ColorCorrection
from mediapod.effects.convolution_bench import ConvolutionBench
from mediapod.effects.edge_detect import EdgeDetect
from mediapod.effects.effect import Effect
from mediapod.effects.gaussian_blur import GaussianBlur
from mediapod.effects.grayscale import Grayscale
from mediapod.effects.passthrough import Passthrough
from mediapod.effects.pixelate import Pixelate
from mediapod.effects.sharpen import Sharpen
from mediapod.effects.torch_module import TorchModule
from mediapod.effects.translate import Translate

_CLASSES: tuple[type[Effect[Any]], ...] = (
    BackgroundDim,
    ColorCorrection,
    ConvolutionBench,
    EdgeDetect,
    GaussianBlur,
    Grayscale,
    Passthrough,
    Pixelate,
    Sharpen,
    TorchModule,
    Translate,
)

EFFECTS: Mapping[str, type[Effect[Any]]] = MappingProxyType({effect.name: effect for effect in _CLASSES})


def create(name: str, parameters: Mapping[str, object]) -> Effect[Any]:
    """Return the effect `name` with `parameters` checked.

    Raises KeyError for an unknown name, pydantic.ValidationError for parameters outside the effect's schema, and
    EffectUnavailable when it cannot be made here.
    """
    effect = EFFECTS[name]
    return effect(effect.Parameters.model_validate(dict(parameters)))


def schemas() -> dict[str, dict[str, Any]]:
    """Return effect name -> JSON schema (draft 2020-12) of its parameters, names in order."""
    return {name: EFFECTS[name].Parameters.model_json_schema() for name in sorted(EFFECTS)}
