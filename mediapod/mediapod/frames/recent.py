"""How the last frames of a session ended: what its statistics, its frame rate cap and admission look at."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

WINDOW_SECONDS = 5.0
MOST_FRAMES = 600  # ten times what a window of 5 s at 60 fps and 2 s of results need; bounds memory, not accuracy


class Outcome(StrEnum):
    """How a frame ended, as far as the load of the pod is concerned."""

    IN_TIME = "in time"
    LATE = "late"  # past its deadline, or replaced by a newer one while it waited
    SHED = "shed"
    OTHER = "other"  # failed: says nothing about load


@dataclass(frozen=True, slots=True)
class _Ended:
    at: float
    outcome: Outcome
    sent: bool
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The last seconds of a session. Ages in seconds of frames that came back processed; None: there was none."""

    received_per_second: float
    sent_per_second: float
    age_p50_seconds: float | None
    age_p95_seconds: float | None
    missed_share: float


class RecentFrames:
    """The frames that ended within the last seconds. Bounded; not thread-safe (its ledger's lock guards it)."""

    def __init__(self) -> None:
        self._ended: deque[_Ended] = deque(maxlen=MOST_FRAMES)

    def add(self, at: float, outcome: Outcome, sent: bool, age_seconds: float) -> None:
        """A frame has ended at `at` (time.monotonic() seconds)."""
        self._ended.append(_Ended(at, outcome, sent, age_seconds))

    def late_share(self, since: float) -> tuple[float, int]:
        """The share of late frames among those that ended after `since` and were not shed, and how many these were."""
        considered = late = 0
        for one in reversed(self._ended):
            if one.at < since:
                break
            if one.outcome in (Outcome.IN_TIME, Outcome.LATE):
                considered += 1
                late += one.outcome is Outcome.LATE
        return (late / considered if considered else 0.0), considered

    def summary(self, now: float) -> Summary:
        """What happened within the window before `now`."""
        recent = [one for one in self._ended if one.at >= now - WINDOW_SECONDS]
        ages = sorted(one.age_seconds for one in recent if one.sent and one.outcome is not Outcome.OTHER)
        missed = sum(one.outcome is not Outcome.IN_TIME for one in recent)
        return Summary(
            received_per_second=round(len(recent) / WINDOW_SECONDS, 1),
            sent_per_second=round(sum(one.sent for one in recent) / WINDOW_SECONDS, 1),
            age_p50_seconds=_percentile(ages, 0.5),
            age_p95_seconds=_percentile(ages, 0.95),
            missed_share=round(missed / len(recent), 4) if recent else 0.0,
        )


def _percentile(ordered: list[float], share: float) -> float | None:
    """Nearest rank."""
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 4) if ordered else None
