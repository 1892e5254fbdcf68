"""A separable Gaussian filter for one plane, in both forms; the edge sample is repeated outside the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SMALLEST_SIGMA = 1e-3  # a neighbour already weighs nothing; the square of a much smaller one would be 0


class GaussianKernel:
    """2 x radius + 1 weights each way, w[i] ~ exp(-(i - radius)^2 / (2 sigma^2)), sum 1."""

    def __init__(self, radius: int, sigma: float) -> None:
        self._radius = radius
        self._weights = gaussian_weights(radius, sigma)
        self._row = self._weights.astype(np.float32)
        self._tensors: dict[tuple[str, str], Tensor] = {}

    def cpu(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the blurred plane, rounded."""
        return np.asarray(self._filter(plane, cv2.CV_8U), dtype=np.uint8)

    def cpu_unrounded(self, plane: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the blurred plane as real numbers, for effects that go on calculating with it."""
        return np.asarray(self._filter(plane, cv2.CV_32F), dtype=np.float32)

    def torch(self, planes: Tensor) -> Tensor:
        """Return the blurred planes (B, 1, H, W)."""
        from torch.nn import functional

        weights, radius = self._on(planes), self._radius
        wide = functional.pad(planes, (radius, radius, 0, 0), mode="replicate")
        rows = functional.conv2d(wide, weights.view(1, 1, 1, -1))
        tall = functional.pad(rows, (0, 0, radius, radius), mode="replicate")
        return functional.conv2d(tall, weights.view(1, 1, -1, 1))

    def _filter(self, plane: NDArray[np.uint8], depth: int) -> Any:
        # Not cv2.GaussianBlur: its 8-bit form rounds the weights to 1/256, which shows on stripes (14 levels off at
        # radius 99), and it is 1.3 (radius 7) to 3.7 (radius 99) times slower than the general filter.
        return cv2.sepFilter2D(plane, depth, self._row, self._row, borderType=cv2.BORDER_REPLICATE)

    def _on(self, planes: Tensor) -> Tensor:
        import torch

        key = (str(planes.device), str(planes.dtype))
        if key not in self._tensors:
            self._tensors[key] = torch.tensor(self._weights, dtype=planes.dtype, device=planes.device)
        return self._tensors[key]


def gaussian_weights(radius: int, sigma: float) -> NDArray[np.float64]:
    """Return the 2 x radius + 1 weights of a sampled Gaussian, sum 1."""
    offsets = np.arange(-radius, radius + 1, dtype=np.float64)
    sigma = max(sigma, SMALLEST_SIGMA)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def sigma_for_radius(radius: int) -> float:
    """Return the standard deviation that suits a radius: OpenCV's rule for a filter of a given size."""
    return 0.3 * (radius - 1) + 0.8
