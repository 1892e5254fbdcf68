"""Exponential back-off with jitter, without end: a network is always worth another try."""

from __future__ import annotations

import random
from dataclasses import dataclass

_GROWTH = 2.0
_MAX_EXPONENT = 32


@dataclass
class Backoff:
    """Delays that double from `first_seconds` up to `most_seconds`, each between half and all of it, so that no
    herd forms.
    """

    first_seconds: float = 0.2
    most_seconds: float = 30.0
    failures: int = 0

    def next_seconds(self) -> float:
        """The delay before the next try; counts a failure."""
        whole = min(self.most_seconds, self.first_seconds * _GROWTH ** min(self.failures, _MAX_EXPONENT))
        self.failures += 1
        return jittered(whole, 0.5)

    def reset(self) -> None:
        """Call after a success."""
        self.failures = 0


def jittered(seconds: float, share: float) -> float:
    """A time between (1 - share) x seconds and seconds."""
    return seconds * (1 - share * random.random())  # noqa: S311  spreads load, guards no secret
