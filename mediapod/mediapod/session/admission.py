"""Who is let in: capacity with pending sessions counted, and draining."""

from __future__ import annotations

RETRY_AFTER_SECONDS = 2  # long enough for a session to end or a replica to come, short enough that people wait


class Refused(Exception):  # noqa: N818  an answer, not a fault
    """The offer is not accepted now. `retry_after_seconds` says when to try again."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.retry_after_seconds = RETRY_AFTER_SECONDS


class Full(Refused):
    """Every place is taken."""


class Draining(Refused):
    """The pod takes no new sessions."""


class Starting(Refused):
    """The pod is still warming up."""


class Admission:
    """Decides on new sessions. Draining can be switched on and off any number of times."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.draining = False
        self.started = False

    def admit(self, taken: int) -> None:
        """Raise Starting, Draining or Full unless one more session than the `taken` ones (active and pending) may
        come in.
        """
        if not self.started:
            raise Starting("this pod is still warming up; see /startupz")
        if self.draining:
            raise Draining("this pod is draining; connect again, another one will answer")
        if taken >= self.capacity:
            raise Full(f"all {self.capacity} sessions of this pod are taken (MAX_SESSIONS_PER_POD)")
