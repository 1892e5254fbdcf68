"""The adaptive frame rate: a session that cannot be served in full is served evenly at a lower rate.

Additive increase, multiplicative decrease (Chiu and Jain, 1989): many sessions on one device arrive at fair shares
without knowing of each other. Late frames are spread by chance and have cost work; shed ones are evenly spaced and
cost no effect and no encoding.
"""

from __future__ import annotations

from collections.abc import Callable

CLOCK_HERTZ = 90_000
LATE_SHARE = 0.05
WINDOW_SECONDS = 2.0
CHECK_SECONDS = 0.5
FEWEST_FRAMES = 10  # fewer say nothing about a share of 5 %
DECREASE = 0.7
INCREASE_PER_CHECK = 2.0  # frames per second: from 15 to 30 within 4 s
LOWEST_PER_SECOND = 5.0
TOLERANCE = 0.25  # of an interval: timestamps jitter

LateShare = Callable[[float], tuple[float, int]]
"""since (seconds) -> share of late frames among those that ended since, and their number."""


class FrameRateCap:
    """Decides frame by frame. Pure: the clock is an argument. One caller at a time.

    Late share above 5 % over 2 s: the rate falls by 30 %, and is left there for 2 s. Half a second without a late
    frame: it rises by 2 frames a second, until it is above what arrives and the cap is gone.
    """

    def __init__(self, late_share: LateShare, now: float) -> None:
        self._late_share = late_share
        self._checked = self._changed = now
        self._frames_since_check = 0
        self._next_timestamp: float | None = None
        self.frames_per_second: float | None = None

    def admits(self, timestamp: int, now: float) -> bool:
        """Whether the frame with this unwrapped 90 kHz timestamp goes on; False: it is to be shed."""
        self._frames_since_check += 1
        if now - self._checked >= CHECK_SECONDS:
            self._check(self._frames_since_check / (now - self._checked), now)
            self._checked, self._frames_since_check = now, 0
        return self.frames_per_second is None or self._is_due(timestamp, CLOCK_HERTZ / self.frames_per_second)

    def _check(self, arriving: float, now: float) -> None:
        share, count = self._late_share(max(self._changed, now - WINDOW_SECONDS))
        if share > LATE_SHARE and count >= FEWEST_FRAMES:
            if now - self._changed >= WINDOW_SECONDS:
                rate = min(arriving, self.frames_per_second or arriving)
                self.frames_per_second, self._changed = max(LOWEST_PER_SECOND, rate * DECREASE), now
        elif self.frames_per_second is not None and self._late_share(now - CHECK_SECONDS)[0] == 0:
            raised = self.frames_per_second + INCREASE_PER_CHECK
            self.frames_per_second = None if raised >= arriving else raised

    def _is_due(self, timestamp: int, interval: float) -> bool:
        due = self._next_timestamp
        if due is not None and due - 2 * interval < timestamp < due - TOLERANCE * interval:
            return False
        # From when it was due, so that the mean rate is right; from now, when the stream has paused or jumped.
        start = due if due is not None and abs(timestamp - due) <= interval else timestamp
        self._next_timestamp = start + interval
        return True
