"""The users: they come, are placed or refused, try again, and leave."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from mediapipeline_operator.core.simulation.loads import Load
from mediapipeline_operator.core.simulation.placement import Doors, Placement
from mediapipeline_operator.core.simulation.pods import SimPod
from mediapipeline_operator.core.simulation.randomness import Randomness

FIRST_RETRY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 30.0


@dataclass
class Audience:
    """Who is there. `where` holds every visit of the moment: its pod, or None while it is refused."""

    load: Load
    capacity: int
    rng: Randomness
    placement: Placement = Placement.PACKED
    sticky: bool = True
    where: dict[int, SimPod | None] = field(default_factory=dict)
    refusals: int = 0
    absent: int = 0  # sessions that are wanted and not served
    _next: int = 0
    _ends: list[tuple[float, int]] = field(default_factory=list)
    _retries: list[tuple[float, float, int]] = field(default_factory=list)  # time, wait after it, visit

    def __post_init__(self) -> None:
        self._doors = Doors(self.capacity, self.rng)
        if self.placement is Placement.SPREAD:
            self._doors.fill_share = 0.0

    @property
    def demand(self) -> int:
        """Sessions that are wanted now."""
        return len(self.where)

    def step(self, now: float, pods: Sequence[SimPod]) -> None:
        """One second: ends, arrivals, retries; without stickiness the load is spread anew."""
        while self._ends and self._ends[0][0] <= now:
            self._leave(heapq.heappop(self._ends)[1])
        takers = [pod for pod in pods if pod.takes_sessions]
        visits = self.load.visits
        while self._next < len(visits) and visits[self._next].arrival <= now:
            self._arrive(self._next, now, takers)
            self._next += 1
        while self._retries and self._retries[0][0] <= now:
            _, wait, visit = heapq.heappop(self._retries)
            if visit in self.where:
                self._offer(visit, now, wait, takers)
        if not self.sticky:
            self._spread(pods, takers)

    def lose(self, pod: SimPod, now: float) -> int:
        """The pod is gone; its sessions come back as new offers. Returns how many were cut."""
        cut = tuple(pod.sessions)
        for visit in cut:
            self._put(visit, None)
            self._try_later(visit, now, FIRST_RETRY_SECONDS)
        return len(cut)

    def _arrive(self, visit: int, now: float, takers: Sequence[SimPod]) -> None:
        end = self.load.visits[visit].end
        if end <= now:
            return
        self.where[visit] = None
        self.absent += 1
        heapq.heappush(self._ends, (end, visit))
        self._offer(visit, now, FIRST_RETRY_SECONDS, takers)

    def _leave(self, visit: int) -> None:
        self._put(visit, None)
        del self.where[visit]
        self.absent -= 1

    def _offer(self, visit: int, now: float, wait: float, takers: Sequence[SimPod]) -> None:
        pod = self._choose(now, takers)
        if pod is not None and len(pod.sessions) < self.capacity:
            self._put(visit, pod)
            pod.newest_session = now
            return
        self.refusals += 1
        if pod is not None:
            pod.rejected += 1
        self._try_later(visit, now, wait)

    def _try_later(self, visit: int, now: float, wait: float) -> None:
        time = now + wait * self.rng.uniform(0.8, 1.2)
        heapq.heappush(self._retries, (time, min(2 * wait, LONGEST_RETRY_SECONDS), visit))

    def _choose(self, now: float, takers: Sequence[SimPod]) -> SimPod | None:
        if not takers:
            return None
        if self.placement is Placement.RANDOM:
            return takers[self.rng.randrange(len(takers))]
        return self._doors.choose(now, takers)

    def _put(self, visit: int, pod: SimPod | None) -> None:
        rate = self.load.visits[visit].frames_per_second
        before = self.where.get(visit)
        if before is not None:
            before.sessions.discard(visit)
            before.frames_per_second -= rate
        if pod is not None:
            pod.sessions.add(visit)
            pod.frames_per_second += rate
        self.absent += (pod is None) - (before is None)
        self.where[visit] = pod

    def _spread(self, pods: Sequence[SimPod], takers: Sequence[SimPod]) -> None:
        """Requests go to any ready pod: leaving pods keep none, the others are level."""
        if not takers:
            return
        for pod in pods:
            while pod.sessions and not pod.takes_sessions:
                least = min(takers, key=lambda taker: len(taker.sessions))
                if len(least.sessions) >= self.capacity:
                    break
                self._put(min(pod.sessions), least)
        self._level(takers)

    def _level(self, takers: Sequence[SimPod]) -> None:
        for _ in range(len(self.where)):
            most = max(takers, key=lambda pod: len(pod.sessions))
            least = min(takers, key=lambda pod: len(pod.sessions))
            if len(most.sessions) - len(least.sessions) <= 1:
                return
            self._put(min(most.sessions), least)
