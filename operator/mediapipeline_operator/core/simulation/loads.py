"""Loads: who comes when, for how long. A visit is what a user wants, whether or not the fleet can serve it.

A visit's end is fixed when it begins: a call that could join only after a minute still ends at its hour. So the demand
of a load is the same for every law, and what a fleet did not serve is demand minus served.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mediapipeline_operator.core.simulation.randomness import Randomness, poisson

FRAME_RATES = (15, 24, 30, 30, 30)  # a fifth each; the mean is 25.8 frames a second
MEAN_FRAME_RATE = sum(FRAME_RATES) / len(FRAME_RATES)
SHORTEST_VISIT_SECONDS = 5.0

Curve = Callable[[float], float]  # seconds -> sessions that are wanted at that time


@dataclass(frozen=True, slots=True)
class Visit:
    """One session that a user wants: from `arrival` to `end`, in seconds from the start of the run."""

    arrival: float
    end: float
    frames_per_second: int


@dataclass(frozen=True, slots=True)
class Load:
    """Visits by arrival, for `duration_seconds`."""

    name: str
    duration_seconds: int
    visits: tuple[Visit, ...]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Session lengths: exponential, or lognormal with a heavy tail when `sigma` is given; the same mean."""

    mean_seconds: float
    sigma: float | None = None

    def draw(self, rng: Randomness) -> float:
        if self.sigma is None:
            return max(SHORTEST_VISIT_SECONDS, rng.expovariate(1 / self.mean_seconds))
        mu = math.log(self.mean_seconds) - self.sigma**2 / 2
        return max(SHORTEST_VISIT_SECONDS, rng.lognormvariate(mu, self.sigma))


@dataclass(frozen=True, slots=True)
class Shape:
    """A curve of wanted sessions as shares of a peak, with the lengths of its sessions.

    `cuts` are the times at which a share of everybody leaves at once (a broken network, the end of a match).
    """

    duration_seconds: int
    curve: Curve
    lengths: Lengths = Lengths(300.0)
    cuts: tuple[tuple[float, float], ...] = ()


def load_of(name: str, shape: Shape, peak_sessions: float, rng: Randomness) -> Load:
    """Draws the visits of a shape. Arrivals are Poisson with the rate that makes the mean follow the curve:
    its growth plus what leaves meanwhile. A curve that falls faster than sessions end is not followed."""
    visits = _initial(shape, peak_sessions, rng)
    for second in range(shape.duration_seconds):
        here, ahead = (peak_sessions * shape.curve(t) for t in (second, second + 1))
        rate = max(0.0, ahead - here + here / shape.lengths.mean_seconds)
        visits += [_visit(second + rng.random(), shape.lengths, rng) for _ in range(poisson(rng, rate))]
    visits = [_cut(visit, shape.cuts, rng) for visit in visits]
    return Load(name, shape.duration_seconds, tuple(sorted(visits, key=lambda visit: visit.arrival)))


def _initial(shape: Shape, peak_sessions: float, rng: Randomness) -> list[Visit]:
    return [_visit(0.0, shape.lengths, rng) for _ in range(round(peak_sessions * shape.curve(0.0)))]


def _visit(arrival: float, lengths: Lengths, rng: Randomness) -> Visit:
    return Visit(arrival, arrival + lengths.draw(rng), FRAME_RATES[rng.randrange(len(FRAME_RATES))])


def _cut(visit: Visit, cuts: Sequence[tuple[float, float]], rng: Randomness) -> Visit:
    for time, share in cuts:
        if visit.arrival < time < visit.end and rng.random() < share:
            return Visit(visit.arrival, time, visit.frames_per_second)
    return visit


def piecewise(*points: tuple[float, float]) -> Curve:
    """Straight lines between (seconds, value) points, constant before the first and after the last."""

    def value(seconds: float) -> float:
        previous = points[0]
        for point in points:
            if seconds < point[0]:
                part = (seconds - previous[0]) / (point[0] - previous[0]) if point[0] > previous[0] else 0.0
                return previous[1] + max(0.0, part) * (point[1] - previous[1])
            previous = point
        return previous[1]

    return value


def rate_steps(mean_seconds: float, *steps: tuple[float, float]) -> Curve:
    """Steps of the arrival rate: sessions follow as 1 - exp(-t / mean length). A step is (seconds, final value)."""

    def value(seconds: float) -> float:
        level, since, goal = steps[0][1], steps[0][0], steps[0][1]
        for time, following in steps[1:]:
            if seconds < time:
                break
            level = goal + (level - goal) * math.exp(-(time - since) / mean_seconds)
            since, goal = time, following
        return goal + (level - goal) * math.exp(-(seconds - since) / mean_seconds)

    return value


def diurnal(period_seconds: float, low: float, high: float) -> Curve:
    """A day as a sine, beginning at its lowest."""
    return lambda t: low + (high - low) * (1 - math.cos(2 * math.pi * t / period_seconds)) / 2


def sawtooth(period_seconds: float, low: float, high: float) -> Curve:
    """Rises through one period, falls at once."""
    return lambda t: low + (high - low) * (t % period_seconds) / period_seconds


TOOTH_SECONDS = 120  # twice the median start-up: the worst rhythm for a law that reacts with one start-up's delay

SHAPES: dict[str, Shape] = {
    "step": Shape(3600, rate_steps(300.0, (0, 0.2), (600, 0.85), (2100, 0.2))),
    "ramp": Shape(4200, piecewise((0, 0.15), (300, 0.15), (2100, 1.0), (2700, 1.0), (3600, 0.15))),
    "spike": Shape(
        3000, piecewise((0, 0.25), (900, 0.25), (930, 1.0), (1200, 1.0), (1201, 0.25)), Lengths(180.0), ((1200, 0.7),)
    ),
    "diurnal": Shape(7200, diurnal(7200, 0.15, 0.95)),
    "sawtooth": Shape(2400, sawtooth(TOOTH_SECONDS, 0.4, 0.7), Lengths(60.0)),
    "flash crowd": Shape(2400, piecewise((0, 0.1), (600, 0.1), (615, 1.0), (1500, 1.0), (1501, 0.1))),
    "heavy tail": Shape(
        3600, piecewise((0, 0.2), (600, 0.2), (900, 0.8), (1500, 0.8), (1501, 0.2)), Lengths(400.0, sigma=1.6)
    ),
    "mass disconnect": Shape(
        3000, piecewise((0, 0.8), (1200, 0.8), (1201, 0.2), (2000, 0.2), (2030, 0.8)), cuts=((1200, 0.75),)
    ),
    "constant": Shape(2400, piecewise((0, 0.6))),
}
