"""The accounting of frames: every complete frame that arrived ends in exactly one result, also when its session
ends.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from mediapod.frames.recent import Outcome, RecentFrames, Summary


class Result(StrEnum):
    """How a received frame ended. The sum over all results is the number of received frames."""

    OK = "ok"  # came back processed
    SUPERSEDED = "superseded"  # replaced by a newer frame, or overtaken by the end of its session
    LATE = "late"  # past its deadline, dropped
    BYPASSED = "bypassed"  # past its deadline, sent unprocessed
    SHED = "shed"  # skipped by the adaptive frame rate
    ERROR = "error"  # the decoder, the effect or the encoder failed


SENT = frozenset({Result.OK, Result.BYPASSED, Result.ERROR})
OUTCOMES = {Result.SHED: Outcome.SHED, Result.ERROR: Outcome.OTHER}


class Stage(StrEnum):
    """The arrows of the data path that have a histogram."""

    JITTER = "jitter"
    DECODE = "decode"
    QUEUE = "queue"
    EFFECT = "effect"
    ENCODE = "encode"
    SEND = "send"


class FrameMeter(Protocol):
    """Where the ledger writes: counters and histograms of the whole process."""

    def frame_received(self) -> None:
        """Count one complete frame that arrived."""

    def frame_ended(self, result: Result) -> None:
        """Count the end of one frame."""

    def frame_age(self, seconds: float) -> None:
        """Observe the age of one frame that came back processed."""

    def stage(self, stage: Stage, seconds: float) -> None:
        """Observe the time that one frame spent in one stage."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One received frame on its way. Times are time.monotonic() seconds.

    first_packet: arrival of the first packet; timestamp: 90 kHz, unwrapped, from the first frame of the stream on;
    mark: start of the current stage.
    """

    ledger: FrameLedger
    first_packet: float
    timestamp: int
    mark: float
    settled: bool = field(default=False)

    def stage(self, stage: Stage) -> None:
        """End the current stage and begin the next one."""
        now = time.monotonic()
        self.ledger.meter.stage(stage, now - self.mark)
        self.mark = now

    def settle(self, result: Result) -> None:
        """Give the frame its result; only the first call counts. Callable from any thread."""
        self.ledger.settle(self, result)

    @property
    def age_seconds(self) -> float:
        """Seconds since the first packet of the frame arrived."""
        return time.monotonic() - self.first_packet


class FrameLedger:
    """The frames of one session: what arrived, what is under way, how each ended."""

    def __init__(self, meter: FrameMeter, deadline_seconds: float = float("inf")) -> None:
        self.meter = meter
        self._deadline_seconds = deadline_seconds
        self._recent = RecentFrames()
        self.received = 0
        self.results: Counter[Result] = Counter()
        self._open: set[Ticket] = set()
        self._lock = threading.Lock()
        self._closed = False

    def receive(self, first_packet: float, timestamp: int) -> Ticket:
        """Count a complete frame and open its ticket. In a closed ledger it ends at once as superseded."""
        ticket = Ticket(self, first_packet, timestamp, first_packet)
        with self._lock:
            self.received += 1
            self._open.add(ticket)
            closed = self._closed
        self.meter.frame_received()
        if closed:
            self.settle(ticket, Result.SUPERSEDED)
        return ticket

    def settle(self, ticket: Ticket, result: Result) -> None:
        """See Ticket.settle."""
        with self._lock:
            if ticket.settled:
                return
            ticket.settled = True
            self._open.discard(ticket)
            self.results[result] += 1
            age = ticket.age_seconds
            self._recent.add(time.monotonic(), self._outcome(result, age), result in SENT, age)
        self.meter.frame_ended(result)
        if result is Result.OK:
            self.meter.frame_age(age)

    def _outcome(self, result: Result, age_seconds: float) -> Outcome:
        """A bypassed frame counts as in time if it was: bypassing keeps a picture moving, and slower would not help."""
        if result in OUTCOMES:
            return OUTCOMES[result]
        in_time = result in SENT and age_seconds <= self._deadline_seconds
        return Outcome.IN_TIME if in_time else Outcome.LATE

    def late_share(self, since: float) -> tuple[float, int]:
        """See RecentFrames.late_share."""
        with self._lock:
            return self._recent.late_share(since)

    def summary(self) -> Summary:
        """How the last seconds went."""
        with self._lock:
            return self._recent.summary(time.monotonic())

    def close(self) -> None:
        """End every frame that is still under way as superseded: its session is over."""
        with self._lock:
            self._closed = True
            open_tickets = list(self._open)
        for ticket in open_tickets:
            self.settle(ticket, Result.SUPERSEDED)

    @property
    def under_way(self) -> int:
        """Frames that have no result yet."""
        return len(self._open)
