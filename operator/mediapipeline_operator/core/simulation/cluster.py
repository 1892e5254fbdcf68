"""The modelled part of Kubernetes: a Deployment, its ReplicaSet's choice of victims, start-up, grace, rollouts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mediapipeline_operator.core.scaling import (
    Action,
    MarkDraining,
    MarkFirst,
    PodFacts,
    RequestDrain,
    RequestUndrain,
    SetReplicas,
    Unmark,
    WorkloadFacts,
)
from mediapipeline_operator.core.simulation.faults import Fault, FaultKind, is_active
from mediapipeline_operator.core.simulation.pods import SimPod
from mediapipeline_operator.core.simulation.randomness import Randomness

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO_SECONDS = -3600.0
ADDRESS = "192.0.2.1"  # nobody connects to it; a pod without one would count as never started


def at(seconds: float) -> datetime:
    """A time of the run as the wall clock of the law."""
    return EPOCH + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class ClusterModel:
    """Start-up is lognormal: half of the pods are ready after `startup_p50_seconds`, nine of ten after the p90."""

    startup_p50_seconds: float = 60.0
    startup_p90_seconds: float = 120.0
    fastest_startup_seconds: float = 20.0
    slowest_startup_seconds: float = 300.0
    grace_seconds: float = 30.0
    hot_pod_slowdown: float = 1.0  # of the first pod's device

    def startup(self, rng: Randomness) -> float:
        sigma = math.log(self.startup_p90_seconds / self.startup_p50_seconds) / 1.2816
        drawn = rng.lognormvariate(math.log(self.startup_p50_seconds), sigma) if sigma > 0 else self.startup_p50_seconds
        return min(self.slowest_startup_seconds, max(self.fastest_startup_seconds, drawn))


@dataclass
class Cluster:
    """Pods and the Deployment's number. `on_gone` is called for every pod that ceases to exist."""

    model: ClusterModel
    rng: Randomness
    replicas: int
    faults: tuple[Fault, ...] = ()
    scrape_interval: float = 5.0
    on_gone: Callable[[SimPod], None] = lambda pod: None
    pods: list[SimPod] = field(default_factory=list)
    revision: int = 0
    rollout_since: float | None = None
    _made: int = 0
    _rolled: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for _ in range(self.replicas):
            pod = self._make(LONG_AGO_SECONDS)
            pod.scheduled = LONG_AGO_SECONDS
            pod.ready_since = LONG_AGO_SECONDS + pod.startup_seconds
        if self.pods:
            self.pods[0].slowdown = self.model.hot_pod_slowdown

    @property
    def live(self) -> list[SimPod]:
        return [pod for pod in self.pods if pod.deleted is None]

    @property
    def serving_count(self) -> int:
        """The Deployment's number without draining pods: what a decision is about. A drained pod that is about to be
        deleted is no longer part of the number."""
        live = self.live
        surplus = 0 if self.rollout_since is not None else max(0, len(live) - self.replicas)
        marked = sum(1 for pod in live if pod.marked is not None)
        return self.replicas - max(0, marked - surplus)

    def advance(self, now: float) -> None:
        """One second: nodes, readiness, the ReplicaSet, deletions."""
        self._begin_rollout(now)
        self._replicate(now)
        pending = is_active(self.faults, FaultKind.PODS_PENDING, now)
        for pod in self.pods:
            if pod.scheduled is None and not pending:
                pod.scheduled = now
            pod.settle(now)
        self._end_pods(now)

    def carry_out(self, action: Action, now: float) -> None:
        """What the operator's shell would do. A SetReplicas on another number than expected is refused, as there."""
        if isinstance(action, SetReplicas):
            if action.expect == self.replicas:
                self.replicas = max(0, action.to)
            return
        pod = next((pod for pod in self.pods if pod.name == action.uid), None)
        if pod is None:
            return
        if isinstance(action, MarkDraining):
            pod.marked = now
        elif isinstance(action, MarkFirst):
            pod.first = True
        elif isinstance(action, Unmark):
            pod.marked, pod.first = None, False
        elif isinstance(action, RequestDrain | RequestUndrain) and pod.started(now):
            pod.draining = isinstance(action, RequestDrain)
            pod.settle(now)

    def facts(self, now: float) -> WorkloadFacts:
        """The Deployment and its pods as the operator observes them."""
        since = None if self.rollout_since is None else at(self.rollout_since)
        return WorkloadFacts(self.replicas, since is not None, since, tuple(self._fact(pod, now) for pod in self.pods))

    def _fact(self, pod: SimPod, now: float) -> PodFacts:
        answers = pod.started(now)
        return PodFacts(
            name=pod.name,
            uid=pod.name,
            created=at(pod.created),
            ready=pod.ready_since is not None,
            ready_since=None if pod.ready_since is None else at(pod.ready_since),
            terminating=pod.terminating,
            draining=pod.marked is not None,
            drain_started=None if pod.marked is None else at(pod.marked),
            goes_first=pod.first,
            revision_current=pod.revision == self.revision,
            sessions=len(pod.sessions) if answers else None,
            admin_draining=pod.draining if answers else None,
            address=ADDRESS if pod.scheduled is not None else None,
        )

    def _make(self, now: float) -> SimPod:
        self._made += 1
        phase = self.rng.uniform(0, self.scrape_interval)
        pod = SimPod(f"pod-{self._made}", self._made, now, self.model.startup(self.rng), phase, revision=self.revision)
        self.pods.append(pod)
        return pod

    def _replicate(self, now: float) -> None:
        live = self.live
        old = [pod for pod in live if pod.revision != self.revision]
        wanted = self.replicas + (1 if old else 0)
        for _ in range(wanted - len(live)):
            self._make(now)
        if old:
            self._roll(now, old)
        surplus = len(live) - wanted
        if surplus > 0:
            for pod in sorted(live, key=lambda pod: pod.victim_rank(now))[:surplus]:
                self._delete(pod, now)

    def _begin_rollout(self, now: float) -> None:
        for index, fault in enumerate(self.faults):
            if fault.kind is FaultKind.ROLLOUT and index not in self._rolled and now >= fault.start:
                self._rolled.add(index)
                self.revision += 1
                self.rollout_since = now

    def _roll(self, now: float, old: Iterable[SimPod]) -> None:
        """maxSurge 1, maxUnavailable 0: an old pod goes when the pods that remain are ready."""
        ready = sum(1 for pod in self.live if pod.ready_since is not None)
        if ready > self.replicas:
            victim = min(old, key=lambda pod: pod.victim_rank(now))
            victim.replaced = True
            self._delete(victim, now)
        if all(pod.revision == self.revision for pod in self.live):
            self.rollout_since = None

    def _delete(self, pod: SimPod, now: float) -> None:
        """SIGTERM: it takes no new sessions, and has the grace period for those that it has."""
        pod.deleted = now
        pod.settle(now)

    def _end_pods(self, now: float) -> None:
        ended = [pod for pod in self.pods if pod.deleted is not None and self._is_over(pod, now)]
        for pod in ended:
            self.pods.remove(pod)
            self.on_gone(pod)

    def _is_over(self, pod: SimPod, now: float) -> bool:
        return not pod.sessions or now >= (pod.deleted or 0.0) + self.model.grace_seconds
