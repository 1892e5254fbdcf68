"""Who is let in: capacity with pending sessions counted, measured headroom, and draining."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DRAINING = "this pod is draining; connect again, another one will answer"
RECONNECT_SECONDS = 1
RETRY_AFTER_SECONDS = 2  # long enough for a session to end or a replica to come, short enough that people wait


class Refused(Exception):  # noqa: N818  an answer, not a fault
    """The offer is not accepted now. `retry_after_seconds` says when to try again."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.retry_after_seconds = RETRY_AFTER_SECONDS


class Full(Refused):
    """Every place is taken."""


class Overloaded(Full):
    """There are places left, but those who are in would suffer."""


class Draining(Refused):
    """The pod takes no new sessions. Somebody else answers the next offer, so there is nothing to wait for."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.retry_after_seconds = RECONNECT_SECONDS


class Starting(Refused):
    """The pod is still warming up."""


@dataclass(frozen=True, slots=True)
class Headroom:
    """What must be left for one more session; None: not looked at.

    loop_lag_seconds: how late the event loop runs, the median of the last seconds. missed_share: of the frames of all
    sessions. The second is off by default: frames that are missed make the operator add replicas, sessions that are
    refused do not show in that signal.
    """

    loop_lag_seconds: float | None = None
    missed_share: float | None = None


class Admission:
    """Decides on new sessions. Draining can be switched on and off any number of times."""

    def __init__(
        self, capacity: int, headroom: Headroom | None = None, loop_lag: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.capacity = capacity
        self.draining = False
        self.started = False
        self._headroom, self._loop_lag = headroom or Headroom(), loop_lag

    def admit(self, taken: int, missed_share: Callable[[], float] = lambda: 0.0) -> None:
        """Raise Starting, Draining, Full or Overloaded unless one more session than the `taken` ones (active and
        pending) may come in.
        """
        if not self.started:
            raise Starting("this pod is still warming up; see /startupz")
        if self.draining:
            raise Draining(DRAINING)
        if taken >= self.capacity:
            raise Full(f"all {self.capacity} sessions of this pod are taken (MAX_SESSIONS_PER_POD)")
        if taken:  # the first session is always let in: whatever is busy, it is not sessions
            self._check_headroom(missed_share)

    def admits(self, taken: int, missed_share: Callable[[], float] = lambda: 0.0) -> bool:
        """Whether `admit` would."""
        try:
            self.admit(taken, missed_share)
        except Refused:
            return False
        return True

    def _check_headroom(self, missed_share: Callable[[], float]) -> None:
        limit, lag = self._headroom.loop_lag_seconds, self._loop_lag()
        if limit is not None and lag > limit:
            raise Overloaded(f"the event loop runs {lag * 1000:.0f} ms late (MEDIAPOD_ADMISSION_LOOP_LAG_MILLISECONDS)")
        most = self._headroom.missed_share
        if most is not None and (share := missed_share()) > most:
            raise Overloaded(f"{share:.1%} of the frames are missed already (MEDIAPOD_ADMISSION_MISSED_PERCENT)")
