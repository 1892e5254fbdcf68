"""Planes to RGB and back, in torch: BT.601, limited range, as everything else here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediapod.effects.effect import PlaneBatch

if TYPE_CHECKING:
    from torch import Tensor

# ITU-R BT.601-7: red and blue from the luma and the scaled differences, green from what is left.
RED, BLUE = 0.299, 0.114
GREEN = 1 - RED - BLUE


def planes_to_rgb(batch: PlaneBatch) -> Tensor:
    """(B, 3, H, W) in 0..1; chroma is brought to the size of the luma bilinearly."""
    import torch
    from torch.nn import functional

    size = batch.y.shape[-2:]
    luma = (batch.y - 16) / 219
    u, v = (
        functional.interpolate((plane - 128) / 224, size=size, mode="bilinear", align_corners=False)
        for plane in (batch.u, batch.v)
    )
    red, blue = luma + 2 * (1 - RED) * v, luma + 2 * (1 - BLUE) * u
    green = (luma - RED * red - BLUE * blue) / GREEN
    return torch.cat([red, green, blue], dim=1).clamp(0, 1)


def rgb_to_planes(rgb: Tensor) -> PlaneBatch:
    """The inverse: (B, 3, H, W) in 0..1, chroma as the mean of two by two."""
    red, green, blue = rgb[:, :1], rgb[:, 1:2], rgb[:, 2:]
    luma = RED * red + GREEN * green + BLUE * blue
    u, v = (blue - luma) / (2 * (1 - BLUE)), (red - luma) / (2 * (1 - RED))
    return PlaneBatch(16 + 219 * luma, 128 + 224 * _halved(u), 128 + 224 * _halved(v))


def _halved(plane: Tensor) -> Tensor:
    from torch.nn import functional

    height, width = plane.shape[-2:]
    return functional.avg_pool2d(functional.pad(plane, (0, width % 2, 0, height % 2), mode="replicate"), 2)
