"""Facts and measurements of fleets, in the words of the rules."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling import (
    Outcome,
    PodFacts,
    PodSignals,
    ScalingState,
    SetReplicas,
    Signals,
    WorkloadFacts,
    decide,
)

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FRAMES_PER_SESSION = 30.0


def spec(**autoscaling):
    top = {
        name: autoscaling.pop(name) for name in ("paused", "replicas", "sessions_per_replica") if name in autoscaling
    }
    per_replica = top.pop("sessions_per_replica", 8)
    return MediaPipelineSpec.model_validate(
        {
            "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
            "sessions": {"maxPerReplica": per_replica},
            "autoscaling": autoscaling,
            **top,
        }
    )


def pod(name, *, age=600.0, ready=True, now=START, **facts):
    created = now - timedelta(seconds=age)
    ready_since = created + timedelta(seconds=20) if ready and age >= 20 else (created if ready else None)
    return PodFacts(
        name=name,
        uid=f"uid-{name}",
        created=created,
        ready=ready,
        ready_since=ready_since,
        address="127.64.0.1",
        **facts,
    )


def pod_signals(sessions=4, *, miss=0.0, age=2.0, capacity=8, rejected=0.0, busy=None, rate=FRAMES_PER_SESSION):
    received = sessions * rate
    return PodSignals(
        up=True,
        age_seconds=age,
        sessions=float(sessions),
        pending=0.0,
        capacity=float(capacity),
        draining=False,
        received_per_second=received,
        on_time_per_second=received * (1 - miss),
        rejected_per_second=rejected,
        busy_share=busy,
    )


def signals(pods, *, p95=20, miss=0.0, growth=None):
    """All frames that are not missed came back within `p95` milliseconds; the share `miss` never came back."""
    received = sum(seen.received_per_second or 0.0 for seen in pods.values())
    ok = {bound: received * (1 - miss) * (bound * 1000 >= p95) for bound in LATENCY_BUCKETS_SECONDS}
    return Signals(
        window_seconds=20, pods=pods, received_per_second=received, ok_per_second=ok, sessions_growth_per_second=growth
    )


@dataclass(frozen=True)
class Fleet:
    """A Deployment, its pods and what Prometheus has of them."""

    spec: MediaPipelineSpec
    workload: WorkloadFacts
    signals: Signals
    state: ScalingState = field(default_factory=ScalingState)
    now: datetime = START
    log_offset_seconds: float = 0.0

    def tick(self) -> Outcome:
        facts = (self.spec, self.workload, self.signals, self.state, self.now)
        return decide(*facts, tick_seconds=10, log_offset_seconds=self.log_offset_seconds)

    def after(self, seconds, outcome=None, **changes):
        state = self.state if outcome is None else outcome.state
        return replace(self, state=state, now=self.now + timedelta(seconds=seconds), **changes)

    def run(self, seconds, step=10):
        """Outcomes of ticks under unchanged facts, the first at once, the last after `seconds`."""
        outcomes, fleet = [], self
        for _ in range(0, seconds + 1, step):
            outcomes.append(fleet.tick())
            fleet = fleet.after(step, outcomes[-1])
        return outcomes

    def settle(self, seconds):
        """This fleet at the tick after so long under unchanged facts (actions are not carried out)."""
        last = self.run(seconds)[-1]
        return self.after(seconds + 10, last)

    def with_pods(self, *pods, replicas=None):
        return replace(self, workload=replace(self.workload, pods=pods, replicas=replicas or len(pods)))


def fleet(n=3, *, sessions=4, p95=20, miss=0.0, growth=None, rejected=0.0, busy=None, age=2.0, rate=30.0, **scaling):
    """`n` ready replicas with `sessions` each."""
    names = [f"pod-{index}" for index in range(n)]
    seen = {name: pod_signals(sessions, miss=miss, rejected=rejected, busy=busy, age=age, rate=rate) for name in names}
    measured = signals(seen, p95=p95, miss=miss, growth=growth)
    return Fleet(spec(**scaling), WorkloadFacts(n, pods=tuple(pod(name) for name in names)), measured)


def raised(outcome):
    """The number that the Deployment was raised or lowered to; None if it was not touched."""
    return next((action.to for action in outcome.actions if isinstance(action, SetReplicas)), None)


class Make:
    """The builders above, as one fixture."""

    START = START
    Fleet = Fleet
    spec = staticmethod(spec)
    pod = staticmethod(pod)
    pod_signals = staticmethod(pod_signals)
    signals = staticmethod(signals)
    fleet = staticmethod(fleet)
    raised = staticmethod(raised)


@pytest.fixture(scope="session")
def make():
    return Make
