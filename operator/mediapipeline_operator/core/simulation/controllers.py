"""Laws in the loop: the production law, and numbers of other laws carried out with or without draining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import Engine, MediaPipelineSpec
from mediapipeline_operator.core.scaling import Action, DataState, Outcome, ScalingState, SetReplicas, Signals, decide
from mediapipeline_operator.core.scaling.queries import batch
from mediapipeline_operator.core.scaling.signals import interpret
from mediapipeline_operator.core.simulation.answers import NAME, NAMESPACE
from mediapipeline_operator.core.simulation.cluster import at
from mediapipeline_operator.core.simulation.peers.law import Law, observe
from mediapipeline_operator.core.simulation.world import Scene

TICK_SECONDS = 10
PASS_SECONDS = 5  # how soon an operator without ticks of its own sees that a drained pod is empty
KEY = Key(NAMESPACE, NAME)


def measured(spec: MediaPipelineSpec, scene: Scene, now: float) -> Signals:
    """The production batch, answered by the model, read by the production code."""
    answers = scene.prometheus.answer(batch([spec]), now)
    return replace(interpret([(KEY, spec)], answers)[KEY], taken=at(now))


@dataclass
class OperatorController:
    """The production law. State goes through status and back at every tick, as if the operator restarted each time."""

    spec: MediaPipelineSpec
    state: ScalingState = field(default_factory=ScalingState)
    last: Outcome | None = None

    def step(self, scene: Scene, now: float) -> Sequence[Action]:
        """Decides every ten seconds."""
        if now % TICK_SECONDS:
            return ()
        signals = measured(self.spec, scene, now)
        self.last = decide(
            self.spec, scene.cluster.facts(now), signals, self.state, at(now), tick_seconds=float(TICK_SECONDS)
        )
        self.state = ScalingState.from_status({"autoscaling": self.last.state.to_status()})
        return self.last.actions

    @property
    def data_state(self) -> DataState | None:
        return None if self.last is None else self.last.data_state


@dataclass
class PlainController:
    """A law that lowers the Deployment's number; the ReplicaSet picks, the grace period is all that sessions get."""

    spec: MediaPipelineSpec
    law: Law

    def step(self, scene: Scene, now: float) -> Sequence[Action]:
        """Asks the law in its own rhythm."""
        if now % self.law.period_seconds:
            return ()
        replicas = scene.cluster.replicas
        wanted = clamp(self.spec, self.law.desired(observe(self.spec, scene, now, replicas)))
        return () if wanted == replicas else (SetReplicas(wanted, replicas),)


@dataclass
class DrainingController:
    """A law that sets the MediaPipeline's /scale; the operator carries it out (engine None of the production law)."""

    spec: MediaPipelineSpec
    law: Law
    wanted: int | None = None
    state: ScalingState = field(default_factory=ScalingState)

    def step(self, scene: Scene, now: float) -> Sequence[Action]:
        """Asks the law in its rhythm, and carries the number out in the operator's."""
        serving = scene.cluster.serving_count
        due = now % self.law.period_seconds == 0
        if due:
            current = self.wanted if self.wanted is not None else serving
            self.wanted = clamp(self.spec, self.law.desired(observe(self.spec, scene, now, current)))
        if self.wanted is None or not (due or now % PASS_SECONDS == 0) or self._is_done(scene, serving):
            return ()
        outcome = decide(
            self._carrying_out(self.wanted),
            scene.cluster.facts(now),
            Signals(),
            self.state,
            at(now),
            tick_seconds=float(PASS_SECONDS),
        )
        self.state = outcome.state
        return outcome.actions

    def _is_done(self, scene: Scene, serving: int) -> bool:
        """Nothing to carry out and nothing to see through: a pass would change nothing."""
        busy = any(pod.marked is not None or pod.draining or pod.terminating for pod in scene.cluster.pods)
        return self.wanted == serving and not busy

    def _carrying_out(self, replicas: int) -> MediaPipelineSpec:
        scaling = self.spec.autoscaling.model_copy(update={"engine": Engine.NONE})
        return self.spec.model_copy(update={"replicas": replicas, "autoscaling": scaling})


def clamp(spec: MediaPipelineSpec, wanted: int) -> int:
    """Within minReplicas and maxReplicas."""
    return min(max(wanted, spec.autoscaling.min_replicas), spec.autoscaling.max_replicas)
