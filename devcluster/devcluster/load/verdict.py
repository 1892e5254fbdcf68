"""Does a returned picture have the effect that a pipeline promises? Pure comparison of two patch readings."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from devcluster.load.layout import CHECKER_CELL_PIXELS

Answer = Literal["seen", "not seen", "unclear"]

_SEEN_FROM, _NOT_SEEN_TO = 0.6, 0.25  # share of the expected change that was measured
_LEAST_GRAY_CHANGE = 4.0  # of 255: codecs alone move a gray by one or two


def _cb_cr(rgb: tuple[float, float, float]) -> tuple[float, float]:
    red, green, blue = rgb
    return 0.5 * blue - 0.1687 * red - 0.3313 * green, 0.5 * red - 0.4187 * green - 0.0813 * blue


@dataclass(frozen=True)
class PatchReading:
    """What the reference patches of one picture look like.

    checker_contrast: standard deviation of the checkerboard's gray over 127.5 (0 flat .. 1 black and white);
    colours: mean RGB (0..255) of each patch; black, white: gray levels of the code's cells; dx, dy: how far the picture
    is moved, in pixels.
    """

    checker_contrast: float
    colours: Mapping[str, tuple[float, float, float]]
    black: float
    white: float
    dx: int
    dy: int

    @property
    def chroma(self) -> float:
        """Mean length of the coloured patches' colour vectors in the CbCr plane (BT.601)."""
        lengths = [math.hypot(*_cb_cr(rgb)) for name, rgb in self.colours.items() if name != "gray"]
        return sum(lengths) / len(lengths)

    @property
    def gray_level(self) -> float:
        """Mean of the gray patch, 0..255."""
        return sum(self.colours["gray"]) / 3


@dataclass(frozen=True)
class Verdict:
    """`seen` when every stage's change is there, `not seen` when one is missing, else `unclear`."""

    answer: Answer
    reason: str


@dataclass(frozen=True)
class _Change:
    """One expected change: the value without the effect, with it, and what was measured."""

    what: str
    without: float
    expected: float
    measured: float

    @property
    def share(self) -> float:
        return (self.measured - self.without) / (self.expected - self.without)

    @property
    def answer(self) -> Answer:
        if self.share >= _SEEN_FROM:
            return "seen"
        return "not seen" if self.share <= _NOT_SEEN_TO else "unclear"

    def __str__(self) -> str:
        return f"{self.what} {self.measured:.2f} (unprocessed {self.without:.2f}, expected {self.expected:.2f})"


Measure = Callable[[PatchReading, PatchReading, Mapping[str, Any]], list[_Change]]


def _ratio(after: float, before: float) -> float:
    return after / max(before, 1e-6)


def _blur(before: PatchReading, after: PatchReading, parameters: Mapping[str, Any]) -> list[_Change]:
    """What a Gaussian leaves of the checkerboard's first harmonic: a wave of 2 cells across and 2 down."""
    radius = float(parameters.get("radius", 7))
    sigma = float(parameters.get("sigma") or 0.3 * (radius - 1) + 0.8)
    frequency_squared = 2 / (2 * CHECKER_CELL_PIXELS) ** 2
    expected = math.exp(-2 * (math.pi * sigma) ** 2 * frequency_squared)
    return [_Change("checkerboard contrast", 1.0, expected, _ratio(after.checker_contrast, before.checker_contrast))]


def _hue_degrees(rgb: tuple[float, float, float]) -> float:
    """Angle in the CbCr plane, from Cb towards Cr."""
    cb, cr = _cb_cr(rgb)
    return math.degrees(math.atan2(cr, cb))


def _hue_turn(before: PatchReading, after: PatchReading, expected: float) -> float:
    """How far the patches' hues came towards the expected turn (the median one), in degrees.

    Measured as the way that is left, so that -179 is next to an expected 180.
    """
    left = [
        abs((_hue_degrees(after.colours[name]) - _hue_degrees(rgb) - expected + 180) % 360 - 180)
        for name, rgb in before.colours.items()
        if name != "gray"
    ]
    return math.copysign(abs(expected) - sorted(left)[len(left) // 2], expected)


def _contrast(before: PatchReading, factor: float, brightness: float) -> float:
    """The expected share of the distance from black to white: both ends are cut off at 0 and 255."""
    ends = [
        min(255.0, max(0.0, 127.5 + (level - 127.5) * factor + brightness * 255))
        for level in (before.black, before.white)
    ]
    return (ends[1] - ends[0]) / (before.white - before.black)


def _gamma_change(before: PatchReading, gamma: float) -> float:
    level = before.gray_level / 255
    return float(level ** (1 / gamma) - level) * 255


def _colour(before: PatchReading, after: PatchReading, parameters: Mapping[str, Any]) -> list[_Change]:
    """Each parameter that differs from its neutral value gives one change (brightness 0 and hue 0, the others 1)."""
    saturation, contrast, gamma = (float(parameters.get(name, 1)) for name in ("saturation", "contrast", "gamma"))
    brightness, hue = (float(parameters.get(name, 0)) for name in ("brightness", "hue"))
    changes = []
    if saturation != 1:
        changes.append(_Change("colour saturation", 1.0, saturation, _ratio(after.chroma, before.chroma)))
    if contrast != 1:
        measured = _ratio(after.white - after.black, before.white - before.black)
        changes.append(_Change("black to white contrast", 1.0, _contrast(before, contrast, brightness), measured))
    if hue != 0 and saturation != 0:
        changes.append(_Change("hue turn in degrees", 0.0, hue, _hue_turn(before, after, hue)))
    shift = _gamma_change(before, gamma) + brightness * 255
    expected = max(-before.gray_level, min(255 - before.gray_level, shift))
    if abs(expected) >= _LEAST_GRAY_CHANGE:
        changes.append(_Change("gray level change", 0.0, expected, after.gray_level - before.gray_level))
    return changes


def _translate(before: PatchReading, after: PatchReading, parameters: Mapping[str, Any]) -> list[_Change]:
    moved = {"x": after.dx - before.dx, "y": after.dy - before.dy}
    wanted = {axis: float(parameters.get(axis, 0)) for axis in "xy"}
    return [_Change(f"move along {axis}", 0.0, wanted[axis], moved[axis]) for axis in "xy" if wanted[axis] != 0]


_MEASURES: Mapping[str, Measure] = {"GaussianBlur": _blur, "ColorCorrection": _colour, "Translate": _translate}


def effect_seen(before: PatchReading, after: PatchReading, stages: Sequence[Mapping[str, Any]]) -> Verdict:
    """Compare the picture as sent with the picture as returned.

    stages: as in a MediaPipeline, [{"effect": "GaussianBlur", "parameters": {"radius": 7}}, ...]. Stages whose effect
    leaves no measurable trace (Passthrough and unknown ones) are passed over; when none is left the answer is
    `not seen`, because there is nothing that could be seen.
    """
    changes: list[_Change] = []
    for stage in stages:
        measure = _MEASURES.get(str(stage.get("effect")))
        if measure is not None:
            changes += measure(before, after, stage.get("parameters") or {})
    if not changes:
        return Verdict("not seen", "no stage of the list leaves a trace that the reference patches show")
    answers = {change.answer for change in changes}
    answer: Answer = "not seen" if "not seen" in answers else "unclear" if "unclear" in answers else "seen"
    return Verdict(answer, "; ".join(str(change) for change in changes))
