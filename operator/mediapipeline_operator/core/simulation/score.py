"""What a run cost its users and its owner."""

from __future__ import annotations

from dataclasses import dataclass, field

REVERSAL_SECONDS = 600  # a change of direction within ten minutes
TROUBLE_SHARE = 0.05  # of frames missed, or of the wanted sessions not served


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of a run's timeline. Shares are of the last ten seconds."""

    time: int
    demand: int
    active: int
    serving: int  # the number without draining replicas
    ready: int
    pods: int  # all that exist and cost
    missed_share: float
    absent: int


@dataclass
class Score:
    """Sums over a run. The triple to judge by: missed frames, rejected session-minutes, replica-hours."""

    received: float = 0.0
    missed: float = 0.0
    demand_seconds: float = 0.0
    absent_seconds: float = 0.0
    pod_seconds: float = 0.0
    killed: int = 0  # sessions cut by scaling
    killed_by_rollout: int = 0
    ups: int = 0
    downs: int = 0
    reversals: int = 0
    blind_downs: int = 0  # scale-downs begun while the measurements were missing or wrong
    longest_trouble_seconds: int = 0
    timeline: list[Moment] = field(default_factory=list)

    @property
    def missed_share(self) -> float:
        return self.missed / self.received if self.received else 0.0

    @property
    def rejected_share(self) -> float:
        """Session-time that was wanted and not served, as a share of all that was wanted."""
        return self.absent_seconds / self.demand_seconds if self.demand_seconds else 0.0

    @property
    def rejected_session_minutes(self) -> float:
        return self.absent_seconds / 60

    @property
    def replica_hours(self) -> float:
        return self.pod_seconds / 3600

    @property
    def triple(self) -> tuple[float, float, float]:
        """(missed share, rejected share, replica-hours), lower is better in each."""
        return self.missed_share, self.rejected_share, self.replica_hours


@dataclass
class Direction:
    """Counts steps and reversals from the number of serving replicas, second by second."""

    number: int
    _last: tuple[float, int] | None = None

    def see(self, number: int, now: float, score: Score, *, blind: bool) -> None:
        """Notes a change of the number."""
        if number == self.number:
            return
        sign = 1 if number > self.number else -1
        score.ups += sign > 0
        score.downs += sign < 0
        score.blind_downs += sign < 0 and blind
        if self._last is not None and self._last[1] != sign and now - self._last[0] <= REVERSAL_SECONDS:
            score.reversals += 1
        self._last, self.number = (now, sign), number


@dataclass
class Trouble:
    """The longest spell in which users noticed something."""

    _since: float | None = None

    def see(self, now: float, bad: bool, score: Score) -> None:
        """Notes a second."""
        if not bad:
            self._since = None
            return
        if self._since is None:
            self._since = now
        score.longest_trouble_seconds = max(score.longest_trouble_seconds, int(now - self._since) + 1)
