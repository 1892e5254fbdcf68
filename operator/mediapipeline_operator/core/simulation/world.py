"""The closed loop: users, pods, scrapes and a controller, one second at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling import Action
from mediapipeline_operator.core.simulation.answers import ModelledPrometheus
from mediapipeline_operator.core.simulation.audience import Audience
from mediapipeline_operator.core.simulation.cluster import Cluster, ClusterModel
from mediapipeline_operator.core.simulation.device import Arrivals, Device
from mediapipeline_operator.core.simulation.faults import Fault, is_blind
from mediapipeline_operator.core.simulation.loads import MEAN_FRAME_RATE, Load
from mediapipeline_operator.core.simulation.placement import Placement
from mediapipeline_operator.core.simulation.pods import SimPod
from mediapipeline_operator.core.simulation.randomness import Randomness
from mediapipeline_operator.core.simulation.score import TROUBLE_SHARE, Direction, Moment, Score, Trouble
from mediapipeline_operator.core.simulation.scrapes import Scraper

MOMENT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything about a world but its load and its law."""

    service_seconds: float = 0.005
    arrivals: Arrivals = Arrivals.PERIODIC
    session_frame_rate: float = MEAN_FRAME_RATE
    sticky: bool = True
    placement: Placement = Placement.PACKED
    cluster: ClusterModel = field(default_factory=ClusterModel)
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Scene:
    """What a controller can see and touch: the cluster through its API, Prometheus through queries."""

    cluster: Cluster
    prometheus: ModelledPrometheus


class Controller(Protocol):
    """A law with its way to carry numbers out. Called once a second; it keeps its own rhythm."""

    def step(self, scene: Scene, now: float) -> Sequence[Action]: ...


@dataclass
class World:
    """One run. Same arguments and the same state of `rng`: the same run."""

    spec: MediaPipelineSpec
    load: Load
    surroundings: Surroundings
    controller: Controller
    rng: Randomness
    score: Score = field(default_factory=Score)

    def __post_init__(self) -> None:
        spec, around = self.spec, self.surroundings
        interval = float(spec.monitoring.interval_seconds)
        deadline = spec.pipeline.frame_deadline_milliseconds / 1000
        self.device = Device(around.service_seconds, deadline, around.arrivals, around.session_frame_rate)
        self.audience = Audience(
            self.load, spec.sessions.max_per_replica, self.rng, around.placement, sticky=around.sticky
        )
        replicas = first_replicas(spec, self.load)
        self.cluster = Cluster(around.cluster, self.rng, replicas, around.faults, interval, self._gone)
        self.scraper = Scraper(self.device, interval, around.faults)
        upper = spec.autoscaling.latency.scale_up.above_milliseconds / 1000
        prometheus = ModelledPrometheus(self.scraper, spec.sessions.max_per_replica, upper)
        self.scene = Scene(self.cluster, prometheus)
        self._now = 0.0
        self._direction, self._trouble = Direction(self.cluster.serving_count), Trouble()
        self._recent = [0.0, 0.0]

    def run(self) -> Score:
        """The whole load."""
        for second in range(self.load.duration_seconds):
            self.step(second)
        return self.score

    def step(self, second: int) -> None:
        """One second. The controller comes last and sees what a real one would: the past."""
        now = self._now = float(second)
        self.cluster.advance(now)
        self.audience.step(now, self.cluster.pods)
        bad = self._count()
        self._trouble.see(now, bad, self.score)
        self.scraper.scrape(self.cluster.pods, now)
        for action in self.controller.step(self.scene, now):
            self.cluster.carry_out(action, now)
        blind = is_blind(self.surroundings.faults, now)
        self._direction.see(self.cluster.serving_count, now, self.score, blind=blind)
        if second % MOMENT_SECONDS == 0:
            self._note(second)

    def _count(self) -> bool:
        """Adds this second to the score; True if users notice something."""
        work = [pod.work(self.device) for pod in self.cluster.pods]
        received, missed = sum(pair[0] for pair in work), sum(pair[1] for pair in work)
        demand, absent = self.audience.demand, self.audience.absent
        score = self.score
        score.received += received
        score.missed += missed
        score.demand_seconds += demand
        score.absent_seconds += absent
        score.pod_seconds += len(self.cluster.pods)
        self._recent[0] += received
        self._recent[1] += missed
        return missed > TROUBLE_SHARE * received or absent > TROUBLE_SHARE * demand

    def _note(self, second: int) -> None:
        received, missed = self._recent
        self._recent = [0.0, 0.0]
        absent = self.audience.absent
        pods = self.cluster.pods
        self.score.timeline.append(
            Moment(
                time=second,
                demand=self.audience.demand,
                active=self.audience.demand - absent,
                serving=self.cluster.serving_count,
                ready=sum(1 for pod in pods if pod.ready_since is not None),
                pods=len(pods),
                missed_share=missed / received if received else 0.0,
                absent=absent,
            )
        )
        self.scraper.drop_old(second)

    def _gone(self, pod: SimPod) -> None:
        cut = self.audience.lose(pod, self._now)
        if pod.replaced:
            self.score.killed_by_rollout += cut
        elif self.surroundings.sticky:
            self.score.killed += cut
        self.scraper.forget(pod, self._now)


def first_replicas(spec: MediaPipelineSpec, load: Load) -> int:
    """Every law begins with the replicas that suit the sessions at the start."""
    sessions = sum(1 for visit in load.visits if visit.arrival <= 0)
    scaling = spec.autoscaling
    need = -(-sessions * 100 // (spec.sessions.max_per_replica * scaling.sessions.target_utilization_percent))
    return min(max(need, scaling.min_replicas), scaling.max_replicas)
