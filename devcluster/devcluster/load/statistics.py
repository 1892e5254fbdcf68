"""What a load client counts, and how the counts of many clients are put together."""

import math
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

EndReason = Literal["", "client closed", "server closed", "ICE lost", "rejected", "failed"]
SERVER_ENDS: frozenset[str] = frozenset({"server closed", "ICE lost"})

SILENT_SECONDS = 5.0
"""A connected session to which nothing comes back for this long may have lost its service without a word."""

Interval = tuple[float, float]
"""From and to, in seconds of the Unix epoch."""


def percentile(values: Iterable[float], share: float) -> float | None:
    """The nearest-rank percentile (share 0..1), None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


@dataclass
class Second:
    """Frames that were sent within one second of the Unix epoch, and those of them that came back."""

    sent: int = 0
    returned: int = 0
    round_trips_milliseconds: "array[float]" = field(default_factory=lambda: array("f"))


@dataclass
class SessionStatistics:
    """One session from its first offer to its end. Times are seconds of the Unix epoch."""

    name: str
    codec: str
    inspected: bool
    offers: int = 0
    rejections: int = 0
    failed_offers: int = 0
    started_time: float = 0.0
    connect_seconds: float | None = None
    session_id: str = ""
    frames_sent: int = 0
    frames_returned: int = 0
    frames_decoded: int = 0
    frames_undecodable: int = 0
    frames_not_inspected: int = 0
    duplicates: int = 0
    unmatched: int = 0
    anchored_by: str = ""
    keyframe_requests: int = 0
    numbers_right: int = 0
    numbers_wrong: int = 0
    numbers_unreadable: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    last_verdict_reason: str = ""
    last_returned_time: float | None = None
    end_reason: EndReason = ""
    end_detail: str = ""
    ended_time: float | None = None
    silent_at_close: bool = False
    seconds: dict[int, Second] = field(default_factory=dict)

    @property
    def ended_by_server(self) -> bool:
        """True for a session that was connected and that this side did not close."""
        return self.end_reason in SERVER_ENDS

    def silent_seconds(self, now: float) -> float:
        """Since when nothing has come back, for a connected session that sends; 0 before it is connected."""
        if self.connect_seconds is None:
            return 0.0
        return max(0.0, now - (self.last_returned_time or self.started_time + self.connect_seconds))

    def count_sent(self, at: float) -> None:
        """A frame left at this time."""
        self.frames_sent += 1
        self._second(at).sent += 1

    def count_returned(self, sent_at: float, round_trip_seconds: float) -> None:
        """The frame that was sent at this time has come back."""
        self.frames_returned += 1
        self.last_returned_time = sent_at + round_trip_seconds
        second = self._second(sent_at)
        second.returned += 1
        second.round_trips_milliseconds.append(round_trip_seconds * 1000)

    def _second(self, at: float) -> Second:
        return self.seconds.setdefault(int(at), Second())

    def as_json(self) -> dict[str, Any]:
        """The report of one session; the seconds are left to the totals."""
        report = {name: value for name, value in asdict(self).items() if name != "seconds"}
        round_trips = [value for second in self.seconds.values() for value in second.round_trips_milliseconds]
        report["frames_missing"] = self.frames_sent - self.frames_returned
        report["round_trip_milliseconds"] = summary(round_trips)
        return report


def summary(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99, rounded to a hundredth."""
    found = {f"p{round(share * 100)}": percentile(values, share) for share in (0.5, 0.95, 0.99)}
    return {name: None if value is None else round(value, 2) for name, value in found.items()}


class RecentRoundTrips:
    """Round trips of the last seconds, for the live status."""

    def __init__(self, window_seconds: float = 5.0, most: int = 20_000) -> None:
        self._window_seconds = window_seconds
        self._entries: deque[tuple[float, float]] = deque(maxlen=most)

    def add(self, at: float, round_trip_seconds: float) -> None:
        """A frame came back at this time."""
        self._entries.append((at, round_trip_seconds))

    def summary(self, now: float) -> dict[str, float | None]:
        """p50, p95, p99 in milliseconds of what came back within the window before now."""
        while self._entries and self._entries[0][0] < now - self._window_seconds:
            self._entries.popleft()
        return summary([seconds * 1000 for _, seconds in self._entries])


@dataclass
class _Share:
    """Frames of a set of seconds."""

    sent: int = 0
    returned: int = 0
    round_trips: list[float] = field(default_factory=list)

    def add(self, second: Second) -> None:
        self.sent += second.sent
        self.returned += second.returned
        self.round_trips.extend(second.round_trips_milliseconds)

    def as_json(self) -> dict[str, Any]:
        return {
            "framesSent": self.sent,
            "framesReturned": self.returned,
            "framesMissing": self.sent - self.returned,
            "returnedShare": round(self.returned / self.sent, 4) if self.sent else None,
            "roundTripMilliseconds": summary(self.round_trips),
        }


def recent_returns(sessions: Iterable[SessionStatistics], now: float, window_seconds: int = 5) -> tuple[int, int]:
    """Frames sent and returned of the last whole seconds, leaving out the newest two, which may still be under way."""
    wanted = range(int(now) - 1 - window_seconds, int(now) - 1)
    seconds = [one.seconds[at] for one in sessions for at in wanted if at in one.seconds]
    return sum(second.sent for second in seconds), sum(second.returned for second in seconds)


def _inside(second: int, intervals: Sequence[Interval]) -> bool:
    """A second that overlaps an interval counts as inside it."""
    return any(start < second + 1 and second <= end for start, end in intervals)


def _by_second(sessions: Sequence[SessionStatistics]) -> dict[int, _Share]:
    shares: dict[int, _Share] = {}
    for session in sessions:
        for at, second in session.seconds.items():
            shares.setdefault(at, _Share()).add(second)
    return dict(sorted(shares.items()))


def _ends(sessions: Sequence[SessionStatistics]) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "time": one.ended_time, "reason": one.end_reason, "detail": one.end_detail}
        for one in sessions
        if one.ended_by_server
    ]


def totals(sessions: Sequence[SessionStatistics], overloads: Sequence[Interval] = ()) -> dict[str, Any]:
    """The report of a run. A frame belongs to the second in which it was sent, inside or outside of the overloads."""
    inside, outside, seconds = _Share(), _Share(), _by_second(sessions)
    for at, share in seconds.items():
        target = inside if _inside(at, overloads) else outside
        target.sent += share.sent
        target.returned += share.returned
        target.round_trips.extend(share.round_trips)
    verdicts: Counter[str] = Counter()
    for session in sessions:
        verdicts.update(session.verdicts)
    names = ("offers", "rejections", "failed_offers", "duplicates", "unmatched")
    numbers = ("numbers_right", "numbers_wrong", "numbers_unreadable", "frames_undecodable")
    return {
        "sessions": len(sessions),
        "connected": sum(one.connect_seconds is not None for one in sessions),
        **{_camel(name): sum(getattr(one, name) for one in sessions) for name in (*names, *numbers)},
        "verdicts": dict(verdicts),
        "connectSeconds": summary([one.connect_seconds for one in sessions if one.connect_seconds is not None]),
        "endReasons": dict(Counter(one.end_reason for one in sessions)),
        "endedByServer": _ends(sessions),
        "silentAtClose": [one.name for one in sessions if one.silent_at_close],
        "overloads": [list(interval) for interval in overloads],
        "insideOverloads": inside.as_json(),
        "outsideOverloads": outside.as_json(),
        "seconds": [{"time": at, **share.as_json()} for at, share in seconds.items()],
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
