"""Which sent frame is a returned one? Pure matching by RTP timestamps.

Assumptions, and what happens where they do not hold:
- The service keeps the distances of the RTP timestamps (it may add a constant and round to milliseconds, as libvpx
  paths do): distances are divided by the frame interval and *rounded*. A distance that is no multiple of the interval
  (more than a quarter off) means that the time line was restarted: the anchor is dropped and looked for anew.
- The constant is found by one number read from a returned picture (the anchor). When no number can be read (an effect
  destroys it), the first frames are assumed to have come back as soon as they could: `anchored_by` says "arrival".
- A frame comes back within `HISTORY_FRAMES` frames, less than one loop of a clip, so that a number is unambiguous.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

HISTORY_FRAMES = 290
_PENDING_FRAMES = 64


@dataclass(frozen=True)
class SentFrame:
    """index counts from 0 in a session, number is drawn in the picture, at is when its last packet left (seconds)."""

    index: int
    number: int
    at: float


@dataclass(frozen=True)
class Match:
    """A returned frame and the frame that was sent; at is when its last packet came back (seconds, same clock)."""

    sent: SentFrame
    timestamp: int
    at: float

    @property
    def round_trip_seconds(self) -> float:
        """From the last packet sent to the last packet returned."""
        return self.at - self.sent.at


class EchoTimeline:
    """One session's sent and returned frames."""

    def __init__(self, ticks_per_frame: int) -> None:
        self._ticks = ticks_per_frame
        self._sent: deque[SentFrame] = deque(maxlen=HISTORY_FRAMES)
        self._pending: deque[tuple[int, float]] = deque(maxlen=_PENDING_FRAMES)
        self._matched: deque[int] = deque(maxlen=HISTORY_FRAMES)
        self._anchor: tuple[int, int] | None = None  # (RTP timestamp, index) of the newest match
        self.anchored_by: Literal["", "number", "arrival"] = ""
        self.sent_count = 0
        self.duplicates = 0
        self.unmatched = 0

    @property
    def needs_number(self) -> bool:
        """True while no anchor is known: decode returned pictures and call `anchor` with a number."""
        return self._anchor is None

    def add_sent(self, number: int, at: float) -> None:
        """The next frame left with this number drawn in it."""
        self._sent.append(SentFrame(self.sent_count, number, at))
        self.sent_count += 1

    def add_returned(self, timestamp: int, at: float) -> list[Match]:
        """A frame came back. Gives its match, earlier ones too when the anchor has just been found, or nothing."""
        if self._anchor is None:
            self._pending.append((timestamp, at))
            if len(self._pending) < _PENDING_FRAMES:
                return []
            self._anchor_by_arrival()
            return self._resolve_pending()
        return [match] if (match := self._match(timestamp, at)) else []

    def anchor(self, timestamp: int, number: int) -> list[Match]:
        """The picture with this RTP timestamp shows this number. Gives the matches that waited for it."""
        if self._anchor is not None:
            return []
        index = next((frame.index for frame in reversed(self._sent) if frame.number == number), None)
        if index is None:
            return []
        self._anchor, self.anchored_by = (timestamp, index), "number"
        return self._resolve_pending()

    def expected_number(self, timestamp: int) -> int | None:
        """The number that the picture with this RTP timestamp must show; None when it cannot be told."""
        frame = self._find(timestamp)
        return None if frame is None else frame.number

    def _resolve_pending(self) -> list[Match]:
        waiting, self._pending = list(self._pending), deque(maxlen=_PENDING_FRAMES)
        return [match for entry in waiting if (match := self._match(*entry))]

    def _anchor_by_arrival(self) -> None:
        """The latest frame that each returned one can be; the earliest of these bounds holds for all."""
        first = self._pending[0][0]
        bounds = []
        for timestamp, at in self._pending:
            latest = next((frame.index for frame in reversed(self._sent) if frame.at <= at), None)
            if latest is not None:
                bounds.append(latest - round(_distance(timestamp, first) / self._ticks))
        if bounds:
            self._anchor, self.anchored_by = (first, min(bounds)), "arrival"

    def _find(self, timestamp: int) -> SentFrame | None:
        if self._anchor is None or not self._sent:
            return None
        steps, rest = _steps(_distance(timestamp, self._anchor[0]), self._ticks)
        position = self._anchor[1] + steps - self._sent[0].index
        return self._sent[position] if rest <= self._ticks / 4 and 0 <= position < len(self._sent) else None

    def _match(self, timestamp: int, at: float) -> Match | None:
        frame = self._find(timestamp)
        if frame is None:
            self.unmatched += 1
            self._anchor = None
            return None
        self._anchor = (timestamp, frame.index)
        if frame.index in self._matched:
            self.duplicates += 1
            return None
        self._matched.append(frame.index)
        return Match(frame, timestamp, at)


def _distance(timestamp: int, origin: int) -> int:
    """Signed distance of two 32-bit RTP timestamps."""
    return (timestamp - origin + (1 << 31)) % (1 << 32) - (1 << 31)


def _steps(distance: int, ticks: int) -> tuple[int, int]:
    steps = round(distance / ticks)
    return steps, abs(distance - steps * ticks)
