"""Keyframe requests, coalesced: many reasons within a moment make one request."""

from __future__ import annotations

MINIMUM_INTERVAL_SECONDS = (
    0.5  # a browser behind a lossy link asks again and again; each keyframe costs ten delta frames
)


class KeyframeRequests:
    """Requests are remembered and become due at most once in `interval_seconds`.

    A request stays pending until `satisfied`, so that a lost request (or a lost keyframe) is asked for again.
    """

    def __init__(self, interval_seconds: float = MINIMUM_INTERVAL_SECONDS) -> None:
        self._interval_seconds = interval_seconds
        self._wanted = False
        self._last = float("-inf")

    def want(self) -> None:
        """Note that a keyframe is needed. Callable from any thread."""
        self._wanted = True

    def satisfied(self) -> None:
        """Note that a keyframe has come. Callable from any thread."""
        self._wanted = False

    def due(self, now: float) -> bool:
        """Whether to ask (or to make a keyframe) now; True starts the pause. `now` in time.monotonic() seconds."""
        if not self._wanted or now - self._last < self._interval_seconds:
            return False
        self._last = now
        return True
