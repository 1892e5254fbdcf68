"""The law in a closed loop with a toy cluster: sticky sessions, start-up times, a ReplicaSet that chooses as it does.

A replica carries CARRIES sessions well and misses half of the frames beyond. Every tick runs the production decide();
its state goes through JSON each time, as if the operator were restarted between any two ticks.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling import (
    DataState,
    DecisionAction,
    MarkDraining,
    MarkFirst,
    PodFacts,
    PodSignals,
    ProblemKind,
    RequestDrain,
    RequestUndrain,
    ScalingState,
    SetReplicas,
    Signals,
    Unmark,
    WorkloadFacts,
    decide,
)

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TICK = 10
STARTUP = 20
CARRIES = 6
FRAMES = 30.0
UNKNOWN = {DataState.STARTING, DataState.PARTIAL, DataState.STALE, DataState.MISSING}


def pipeline(**autoscaling):
    return MediaPipelineSpec.model_validate(
        {
            "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
            "sessions": {"maxPerReplica": 8},
            "autoscaling": {"minReplicas": 2, "maxReplicas": 10} | autoscaling,
        }
    )


@dataclass
class Pod:
    uid: str
    created: float
    sessions: int = 0
    marked: float | None = None
    first: bool = False
    draining: bool = False

    @property
    def cost(self):
        return -2000 if self.first else -1000 if self.marked is not None else 0

    def started(self, now):
        return now >= self.created + STARTUP

    def ready(self, now):
        return self.started(now) and not self.draining


@dataclass
class World:
    spec: MediaPipelineSpec
    replicas: int = 2
    now: float = 0.0
    pods: list = field(default_factory=list)
    status: dict = field(default_factory=dict)
    in_memory: bool = False  # the operator never restarts; otherwise it does before every tick
    memory: ScalingState | None = None
    killed: int = 0
    rejected: int = 0
    fault: str = ""
    history: list = field(default_factory=list)
    names: object = field(default_factory=lambda: count(1))

    def __post_init__(self):
        self.pods = [Pod(f"pod-{next(self.names)}", -STARTUP - 30) for _ in range(self.replicas)]

    # load
    def arrive(self, sessions):
        for _ in range(sessions):
            free = [pod for pod in self.pods if pod.ready(self.now) and pod.sessions < 8]
            if not free:
                self.rejected += 1
                continue
            min(free, key=lambda pod: pod.sessions).sessions += 1

    def leave(self, sessions):
        for _ in range(sessions):
            busy = [pod for pod in self.pods if pod.sessions]
            if busy:
                max(busy, key=lambda pod: pod.sessions).sessions -= 1

    @property
    def total(self):
        return sum(pod.sessions for pod in self.pods)

    # one tick
    def tick(self):
        now = START + timedelta(seconds=self.now)
        stored = ScalingState.from_status(json.loads(json.dumps({"autoscaling": self.status})))
        state = self.memory or stored
        outcome = decide(self.spec, self.facts(), self.signals(), state, now, tick_seconds=TICK)
        self.check(outcome)
        for action in outcome.actions:
            self.carry_out(action)
        self.replicate()
        self.status = outcome.autoscaling_status
        self.memory = outcome.state if self.in_memory else None
        self.history.append(outcome)
        self.now += TICK
        return outcome

    def run(self, seconds, *, arrivals=0, departures=0):
        return [self._step(arrivals, departures) for _ in range(0, seconds, TICK)]

    def _step(self, arrivals, departures):
        self.arrive(arrivals)
        self.leave(departures)
        return self.tick()

    def facts(self):
        return WorkloadFacts(self.replicas, pods=tuple(self.fact(pod) for pod in self.pods))

    def fact(self, pod):
        moment = START + timedelta(seconds=pod.created)
        return PodFacts(
            name=pod.uid,
            uid=pod.uid,
            created=moment,
            ready=pod.ready(self.now),
            ready_since=moment + timedelta(seconds=STARTUP) if pod.ready(self.now) else None,
            draining=pod.marked is not None,
            goes_first=pod.first,
            drain_started=None if pod.marked is None else START + timedelta(seconds=pod.marked),
            sessions=pod.sessions if pod.started(self.now) else None,
            admin_draining=pod.draining if pod.started(self.now) else None,
            address="127.64.0.1",
        )

    def signals(self):
        if self.fault == "down":
            return Signals.missing(ProblemKind.DOWN)
        up = [pod for pod in self.pods if pod.started(self.now)]
        seen = {pod.uid: self.measure(pod) for pod in up[: len(up) // 2 if self.fault == "half" else None]}
        received = sum(pod.received_per_second for pod in seen.values())
        on_time = sum(pod.on_time_per_second for pod in seen.values())
        ok = {bound: on_time * (bound >= 0.02) for bound in LATENCY_BUCKETS_SECONDS}
        return Signals(20.0, None, seen, received, ok, None)

    def measure(self, pod):
        received = FRAMES * pod.sessions
        return PodSignals(
            up=True,
            age_seconds=60.0 if self.fault == "stale" else 2.0,
            sessions=float(pod.sessions),
            pending=0.0,
            capacity=8.0,
            draining=pod.draining,
            received_per_second=received,
            on_time_per_second=received * (0.5 if pod.sessions > CARRIES else 1.0),
            rejected_per_second=0.0,
            busy_share=min(1.0, pod.sessions / (CARRIES + 0.5)),
        )

    def check(self, outcome):
        lowers = [a for a in outcome.actions if isinstance(a, SetReplicas) and a.to < a.expect]
        marks = [a for a in outcome.actions if isinstance(a, MarkDraining)]
        assert len(lowers) + len(marks) <= 1
        if outcome.data_state in UNKNOWN:
            assert not lowers
            assert not marks
        assert outcome.text

    # what the operator's shell and Kubernetes do
    def carry_out(self, action):
        if isinstance(action, SetReplicas):
            assert action.expect == self.replicas
            assert action.to <= max(self.spec.autoscaling.max_replicas, action.expect)
            self.replicas = action.to
            return
        pod = next(pod for pod in self.pods if pod.uid == action.uid)
        if isinstance(action, MarkDraining):
            pod.marked = self.now
        elif isinstance(action, MarkFirst):
            pod.first = True
        elif isinstance(action, Unmark):
            pod.marked, pod.first = None, False
        elif isinstance(action, RequestDrain | RequestUndrain):
            pod.draining = isinstance(action, RequestDrain)

    def replicate(self):
        """The ReplicaSet: unready pods go first, then by deletion cost, then the newest."""
        while len(self.pods) > self.replicas:
            pod = min(self.pods, key=lambda p: (p.ready(self.now), p.cost, -p.created))
            self.killed += pod.sessions
            self.pods.remove(pod)
        while len(self.pods) < self.replicas:
            self.pods.append(Pod(f"pod-{next(self.names)}", self.now))

    @property
    def serving(self):
        return sum(1 for pod in self.pods if pod.marked is None)


@pytest.mark.parametrize("policy", ["SLO", "Threshold"])
def test_the_whole_story_up_under_load_and_down_again_by_draining(policy):
    world = World(pipeline(policy=policy))
    world.run(300, arrivals=1)
    assert world.serving > 2
    assert world.rejected <= 1  # Threshold adds a replica once nothing is free; one client may come before it is up
    world.run(600)
    peak = world.replicas
    assert 6 * peak >= world.total  # the load is still here, and so are its replicas
    assert peak < 10  # two hot pods with sticky sessions are no reason to fill the cluster
    world.run(1800, departures=1)
    assert world.total == 0
    assert (world.serving, world.replicas) == (2, 2)
    assert world.killed == 0
    downs = sum(outcome.decision.action is DecisionAction.DOWN for outcome in world.history)
    removed = sum(outcome.decision.action is DecisionAction.REMOVE for outcome in world.history)
    assert removed == peak - 2
    assert downs >= removed


def test_slo_is_ahead_of_the_load_threshold_follows_it():
    def missed(policy):
        world, late = World(pipeline(policy=policy)), 0
        for _ in range(40):
            world.arrive(1)
            late += sum(pod.sessions > CARRIES for pod in world.pods)
            world.tick()
        return late

    assert missed("SLO") <= missed("Threshold")


def test_prometheus_down_at_the_peak_keeps_everything():
    world = World(pipeline())
    world.run(300, arrivals=1)
    peak = world.serving
    world.fault = "down"
    world.run(900)
    assert world.serving == peak
    world.fault = ""
    after = world.run(120)
    assert all(outcome.decision.action is not DecisionAction.DOWN for outcome in after[:-1])


def story(world, lost=None):
    """Load comes, stays and goes within 15 minutes. The status is lost before the tick `lost`."""
    for tick in range(90):
        if tick == lost:
            world.status, world.memory = {}, None
        world.run(TICK, arrivals=1 if tick < 25 else 0, departures=1 if 40 <= tick < 70 else 0)
    assert world.killed == 0
    return world.history


@pytest.mark.parametrize("policy", ["SLO", "Threshold"])
def test_a_restart_at_any_tick_changes_nothing(policy):
    """In one world every tick is a restart, in the other the operator never stops."""
    spec = pipeline(policy=policy, latency={"scaleDown": {"forSeconds": 60}})
    restarted, never = story(World(spec)), story(World(spec, in_memory=True))
    assert [outcome.text for outcome in restarted] == [outcome.text for outcome in never]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 85), st.sampled_from(["SLO", "Threshold"]))
def test_a_lost_status_makes_scale_downs_later_never_earlier(lost, policy):
    """An operator that knows nothing waits its full time before it starts a drain."""
    history = story(World(pipeline(policy=policy, latency={"scaleDown": {"forSeconds": 60}})), lost)
    downs = [tick for tick, outcome in enumerate(history) if outcome.decision.action is DecisionAction.DOWN]
    assert not [tick for tick in downs if lost <= tick < lost + 60 // TICK]


def test_one_endless_session_does_not_block_scaling_down():
    world = World(pipeline())
    world.run(300, arrivals=1)
    world.leave(world.total - 1)
    world.run(3000)
    assert world.replicas == 2
    assert world.killed == 0
    assert world.total == 1


def test_an_empty_drained_replica_does_not_wait_for_a_slower_one():
    """Two replicas drain; the one that is empty goes though the other still has a session, which is not cut."""
    world = World(pipeline(minReplicas=3, drain={"maxParallel": 2}), replicas=5)
    world.run(60)
    slow, quick = world.pods[:2]
    for pod in (slow, quick):
        pod.marked, pod.draining = world.now, True
    slow.sessions = 1
    world.run(3 * TICK)
    assert quick not in world.pods
    assert slow in world.pods
    assert (slow.sessions, world.killed) == (1, 0)


def test_new_load_takes_a_draining_replica_back_before_it_makes_new_ones():
    world = World(pipeline())
    world.run(300, arrivals=1)
    world.leave(world.total - len(world.pods))
    while not any(pod.marked is not None for pod in world.pods):
        world.tick()
    before = world.replicas
    world.arrive(6 * len(world.pods))
    world.tick()
    assert not any(pod.marked is not None for pod in world.pods)
    assert world.replicas >= before


steps = st.tuples(
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from(["", "", "", "", "down", "stale", "half"]),
    st.integers(1, 6),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(st.lists(steps, min_size=1, max_size=12), st.sampled_from(["SLO", "Threshold"]), st.integers(1, 2))
def test_no_story_kills_a_session_or_leaves_the_bounds(story, policy, parallel):
    world = World(pipeline(policy=policy, drain={"maxParallel": parallel}, latency={"scaleDown": {"forSeconds": 20}}))
    for arrivals, departures, fault, ticks in story:
        world.fault = fault
        world.run(ticks * TICK, arrivals=arrivals, departures=departures)
        assert world.replicas <= 10
        assert world.killed == 0
    world.fault = ""
    world.leave(world.total)
    world.run(900)
    assert (world.replicas, world.serving, world.killed) == (2, 2, 0)
