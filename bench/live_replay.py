"""The recorded load through the simulator: the same spec, the production law, and the HPA as it was configured here."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from live_cluster import FRAMES_PER_SECOND, HPA, OURS, SERVICE_MILLISECONDS, spec_of

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.simulation.catalogue import OURS_SLO, contestants
from mediapipeline_operator.core.simulation.cluster import ClusterModel
from mediapipeline_operator.core.simulation.controllers import DrainingController
from mediapipeline_operator.core.simulation.loads import Load
from mediapipeline_operator.core.simulation.peers.behavior import Behavior, Policy, Rules
from mediapipeline_operator.core.simulation.peers.hpa import Hpa, Metric
from mediapipeline_operator.core.simulation.score import Score
from mediapipeline_operator.core.simulation.world import Controller, Surroundings, World

SEEDS = 5
ADAPTER_WINDOW_SECONDS = 60  # of the shipped rules
SYNC_SECONDS = 5  # of the local cluster's kube-controller-manager
# Those that the operator writes into its HorizontalPodAutoscaler.
BEHAVIOR_UP = Rules(60, (Policy(100, 15, percent=True),))
BEHAVIOR_DOWN = Rules(300, (Policy(10, 60, percent=True),))


@dataclass(frozen=True, slots=True)
class Result:
    """One pipeline's run, measured or simulated. Shares are 0..1, times in seconds."""

    missed_share: float
    rejected_share: float
    rejected_session_minutes: float
    replica_hours: float
    killed: float
    lost: float
    reversals: float
    ups: float
    downs: float


def replay(load: Load, startups: Sequence[float]) -> tuple[dict[str, Result], dict[str, Score]]:
    """Means over some seeds (of start-ups and scrape phases), and the first run's timeline."""
    scores = {name: [_run(name, load, startups, seed) for seed in range(SEEDS)] for name in (OURS, HPA)}
    return {name: _mean(runs) for name, runs in scores.items()}, {name: runs[0] for name, runs in scores.items()}


def _run(name: str, load: Load, startups: Sequence[float], seed: int) -> Score:
    spec = MediaPipelineSpec.model_validate(spec_of("Operator"))
    around = Surroundings(
        service_seconds=SERVICE_MILLISECONDS / 1000,
        session_frame_rate=float(FRAMES_PER_SECOND),
        cluster=_startup_model(startups, spec),
    )
    return World(spec, load, around, _controller(name, spec), random.Random(seed)).run()


def _startup_model(startups: Sequence[float], spec: MediaPipelineSpec) -> ClusterModel:
    ordered = sorted(startups)
    middle, late = statistics.median(ordered), ordered[int(0.9 * (len(ordered) - 1))]
    return ClusterModel(
        startup_p50_seconds=max(1.0, middle),
        startup_p90_seconds=max(1.0, middle, late),
        fastest_startup_seconds=max(1.0, ordered[0]),
        slowest_startup_seconds=max(1.0, ordered[-1]),
        grace_seconds=float(spec.pod.termination_grace_period_seconds),
    )


def _controller(name: str, spec: MediaPipelineSpec) -> Controller:
    if name == OURS:
        return contestants(spec)[OURS_SLO].make()
    slo = spec.autoscaling.latency.scale_up.above_milliseconds / 1000
    law = Hpa((Metric("p95", slo),), behavior=Behavior(BEHAVIOR_UP, BEHAVIOR_DOWN), period_seconds=SYNC_SECONDS)
    # its p95 is over the adapter's window, which the controller derives from the scrape interval
    interval = ADAPTER_WINDOW_SECONDS // 4
    asked = spec.model_copy(update={"monitoring": spec.monitoring.model_copy(update={"interval_seconds": interval})})
    return DrainingController(asked, law)


def of_score(score: Score) -> Result:
    """A simulated run in the terms of a measured one."""
    return Result(
        missed_share=score.missed_share,
        rejected_share=score.rejected_share,
        rejected_session_minutes=score.rejected_session_minutes,
        replica_hours=score.replica_hours,
        killed=score.killed,
        lost=0.0,  # nothing but scaling ends a session there
        reversals=score.reversals,
        ups=score.ups,
        downs=score.downs,
    )


def _mean(scores: Sequence[Score]) -> Result:
    found = [of_score(score) for score in scores]
    return Result(**{name: statistics.fmean(getattr(one, name) for one in found) for name in Result.__slots__})
