"""HPA v2 `behavior`: stabilisation windows and rate policies, in the controller's order.

Source: kubernetes pkg/controller/podautoscaler/horizontal.go (stabilizeRecommendationWithBehaviors,
convertDesiredReplicasWithBehaviorRate, calculateScaleUpLimitWithScalingRules, calculateScaleDownLimitWithBehaviors) and
the user's guide "Horizontal Pod Autoscaling: configurable scaling behavior".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Policy:
    """`value` pods, or percent of the replicas at the start of the period, in `period_seconds`."""

    value: int
    period_seconds: int
    percent: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction. `most` chooses the policy that changes most (selectPolicy Max), else that which changes least."""

    stabilization_seconds: int
    policies: tuple[Policy, ...]
    most: bool = True


DEFAULT_UP = Rules(0, (Policy(100, 15, percent=True), Policy(4, 15, percent=False)))
DEFAULT_DOWN = Rules(300, (Policy(100, 15, percent=True),))


@dataclass
class Behavior:
    """Keeps recommendations and its own scale events, in memory only, as the controller does."""

    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN
    _recommendations: list[tuple[float, int]] = field(default_factory=list)
    _events: list[tuple[float, int]] = field(default_factory=list)  # time, change

    def apply(self, replicas: int, wanted: int, now: float) -> int:
        """The number after the window, then the rate."""
        if not self._recommendations:
            self._recommendations.append((now, replicas))  # a restarted controller does not drop at once
        stable = self._stabilize(replicas, wanted, now)
        result = self._limit(replicas, stable, now)
        if result != replicas:
            self._events.append((now, result - replicas))
        return result

    def _stabilize(self, replicas: int, wanted: int, now: float) -> int:
        """Up to the lowest, down to the highest recommendation of the direction's window."""
        up = self._within(now, self.up.stabilization_seconds)
        down = self._within(now, self.down.stabilization_seconds)
        low, high = min([wanted, *up]), max([wanted, *down])
        longest = max(self.up.stabilization_seconds, self.down.stabilization_seconds)
        self._recommendations = [(t, n) for t, n in self._recommendations if now - t < longest]
        self._recommendations.append((now, wanted))
        return min(max(replicas, low), high)

    def _within(self, now: float, seconds: int) -> list[int]:
        return [count for time, count in self._recommendations if now - time < seconds]

    def _limit(self, replicas: int, wanted: int, now: float) -> int:
        if wanted > replicas:
            limits = [self._up_limit(policy, replicas, now) for policy in self.up.policies]
            best = max(limits) if self.up.most else min(limits)
            return min(wanted, max(replicas, best))
        limits = [self._down_limit(policy, replicas, now) for policy in self.down.policies]
        lowest = min(limits) if self.down.most else max(limits)
        return max(wanted, min(replicas, lowest))

    def _up_limit(self, policy: Policy, replicas: int, now: float) -> int:
        start = self._at_start(policy, replicas, now)
        return math.ceil(start * (1 + policy.value / 100)) if policy.percent else start + policy.value

    def _down_limit(self, policy: Policy, replicas: int, now: float) -> int:
        start = self._at_start(policy, replicas, now)
        return int(start * (1 - policy.value / 100)) if policy.percent else start - policy.value

    def _at_start(self, policy: Policy, replicas: int, now: float) -> int:
        """The number at the start of the policy's period: without what was added since, with what was deleted."""
        return replicas - sum(change for time, change in self._events if now - time < policy.period_seconds)
