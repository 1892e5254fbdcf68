"""Where chance comes from: an argument. `random.Random(seed)` fits; the same seed gives the same run."""

from __future__ import annotations

import math
from typing import Protocol


class Randomness(Protocol):
    """The part of `random.Random` that the model uses."""

    def random(self) -> float: ...

    def uniform(self, a: float, b: float) -> float: ...

    def expovariate(self, lambd: float) -> float: ...

    def lognormvariate(self, mu: float, sigma: float) -> float: ...

    def randrange(self, start: int) -> int: ...


def poisson(rng: Randomness, mean: float) -> int:
    """How many events of a Poisson process fall into a second with `mean` of them (by counting waiting times)."""
    count, passed = 0, rng.expovariate(1.0) if mean > 0 else math.inf
    while passed < mean:
        count += 1
        passed += rng.expovariate(1.0)
    return count
