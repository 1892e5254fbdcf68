"""Builds the example model: a warm, slightly sharpened picture that darkens towards its edges.

    python build_model.py warm.pt2

Nothing is trained and nothing is downloaded: the weights are written here. A model of yours takes the same form:
pictures in, (B, 3, H, W) float32 from 0 to 1, pictures of the same size out; batch, height and width are left open.
"""

from __future__ import annotations

import sys

import torch
from torch.export import Dim

# Rows: red, green and blue of the result, as shares of red, green and blue of the picture.
WARM = ((0.98, 0.14, 0.00), (0.06, 0.88, 0.02), (0.02, 0.10, 0.70))
SHARP = ((0.0, -0.15, 0.0), (-0.15, 1.6, -0.15), (0.0, -0.15, 0.0))
EDGE_DARKNESS = 0.45


class Warm(torch.nn.Module):
    """A 1x1 convolution, a 3x3 one for each channel, and a mask that depends on the place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("colour", torch.tensor(WARM)[:, :, None, None])
        self.register_buffer("sharpen", torch.tensor(SHARP).expand(3, 1, 3, 3).clone())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in, the same out."""
        height, width = pictures.shape[-2:]
        warm = torch.nn.functional.conv2d(pictures, self.colour)
        sharp = torch.nn.functional.conv2d(
            torch.nn.functional.pad(warm, (1, 1, 1, 1), "replicate"), self.sharpen, groups=3
        )
        down = _from_minus_one_to_one(height, pictures)[:, None]
        across = _from_minus_one_to_one(width, pictures)[None, :]
        mask = 1 - EDGE_DARKNESS * ((down**2 + across**2) / 2) ** 2
        return (sharp * mask).clamp(0, 1)


def _from_minus_one_to_one(length: int, like: torch.Tensor) -> torch.Tensor:
    # Not torch.linspace: the exporter would take the length for a constant.
    return torch.arange(length, device=like.device, dtype=like.dtype) * (2 / (length - 1)) - 1


def build(path: str) -> None:
    """Export the model to `path`."""
    example = torch.rand(2, 3, 48, 64)
    sizes = {0: Dim("batch", min=1, max=64), 2: Dim("height", min=2, max=4320), 3: Dim("width", min=2, max=7680)}
    torch.export.save(torch.export.export(Warm().eval(), (example,), dynamic_shapes=(sizes,)), path)


if __name__ == "__main__":
    build(sys.argv[1])
