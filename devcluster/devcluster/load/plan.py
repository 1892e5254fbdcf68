"""A load profile: how many sessions are wanted when, and what kind each session is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from devcluster.load.clips import Codec

CloseOrder = Literal["newest", "random"]
MOST_SESSIONS = 500


@dataclass(frozen=True)
class Step:
    """From this many seconds after the start on, this many sessions are held."""

    at_seconds: float
    sessions: int


@dataclass(frozen=True)
class Profile:
    """Steps in order of time, and when the run ends (seconds after the start)."""

    steps: tuple[Step, ...]
    duration_seconds: float

    def __post_init__(self) -> None:
        times = [step.at_seconds for step in self.steps]
        if not times or times[0] != 0 or times != sorted(set(times)) or self.duration_seconds <= times[-1]:
            raise ValueError(f"profile {self.steps}: needs steps from 0 s on, in rising order, before its end")
        for step in self.steps:
            if not 0 <= step.sessions <= MOST_SESSIONS:
                raise ValueError(
                    f"profile: {step.sessions} sessions at {step.at_seconds:g} s: must be 0..{MOST_SESSIONS}"
                )

    def wanted(self, elapsed_seconds: float) -> int:
        """Sessions wanted at a time; 0 after the end."""
        if elapsed_seconds >= self.duration_seconds:
            return 0
        return next(step.sessions for step in reversed(self.steps) if step.at_seconds <= elapsed_seconds)


def _steps(text: str, hold_seconds: float) -> list[Step]:
    counts = [int(part) for part in text.split(",")]
    return [Step(index * hold_seconds, count) for index, count in enumerate(counts)]


def _timed(text: str) -> list[Step]:
    pairs = [part.split("=") for part in text.split(",")]
    return [Step(float(at), int(count)) for at, count in pairs]


def _ramp(text: str, hold_seconds: float) -> list[Step]:
    first, last = (int(part) for part in text.split(","))
    changes = abs(last - first)
    sign = 1 if last >= first else -1
    return [Step(hold_seconds * index / (changes + 1), first + sign * index) for index in range(changes + 1)]


def parse_profile(text: str, *, hold_seconds: float = 30.0) -> Profile:
    """A profile from text.

    `step:2,8,2` holds each number for hold_seconds; `at:0=2,20=8,90=2` changes at these seconds and holds the last one
    for hold_seconds; `ramp:0,10` goes from one number to the other within hold_seconds, one session at a time.
    Raises ValueError that names the text.
    """
    kind, _, rest = text.partition(":")
    try:
        if kind == "step":
            steps = _steps(rest, hold_seconds)
            return Profile(tuple(steps), len(steps) * hold_seconds)
        if kind == "at":
            steps = _timed(rest)
            return Profile(tuple(steps), steps[-1].at_seconds + hold_seconds)
        if kind == "ramp":
            return Profile(tuple(_ramp(rest, hold_seconds)), hold_seconds)
    except ValueError as error:
        raise ValueError(f"profile {text!r}: {error}") from error
    raise ValueError(f"profile {text!r}: must begin with step:, at: or ramp:, for example step:2,8,2")


@dataclass(frozen=True)
class Mix:
    """What share (0..1) of the sessions sends VP8, the others H.264, and what share decodes and checks all pictures."""

    vp8_share: float = 0.5
    inspector_share: float = 0.1

    def __post_init__(self) -> None:
        for name in ("vp8_share", "inspector_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be within 0..1")

    def codec(self, index: int) -> Codec:
        """The codec of the session with this running number, spread evenly."""
        return "VP8" if int((index + 1) * self.vp8_share) > int(index * self.vp8_share) else "H264"

    def inspects(self, index: int) -> bool:
        """Whether the session with this running number inspects; with any share above 0 the first one does."""
        before = -int(-index * self.inspector_share // 1)
        return -int(-(index + 1) * self.inspector_share // 1) > before


def choose_to_close(live: Sequence[str], count: int, order: CloseOrder, random: Random) -> list[str]:
    """Which of the live sessions, oldest first, are closed: the newest, or any (by the given generator)."""
    count = max(0, min(count, len(live)))
    if order == "newest":
        return list(reversed(live))[:count]
    return random.sample(list(live), count)
