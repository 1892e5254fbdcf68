"""Numbers that someone else wants: engine None carries spec.replicas out, paused and Advisory touch nothing."""

from __future__ import annotations

from dataclasses import replace

from mediapipeline_operator.core.scaling import drain
from mediapipeline_operator.core.scaling.law import Choice, choose, first_of, removal_of, swap_of
from mediapipeline_operator.core.scaling.model import Action
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import Blocker, DecisionAction, Reason
from mediapipeline_operator.core.scaling.removal import rollout_freezes


def paused(reading: Reading) -> Choice:
    """Undoes running drains and nothing else."""
    n = reading.situation.n
    return Choice(DecisionAction.HOLD, n, Reason.PAUSED, "spec.paused is true", actions=undo_drains(reading))


def undo_drains(reading: Reading) -> tuple[Action, ...]:
    """A drain that nobody will see through would keep a replica out of service for ever."""
    return tuple(action for pod in drain.cancellable(reading.situation) for action in drain.cancel(pod))


def advisory(reading: Reading) -> Choice:
    """The same decision, not carried out."""
    return replace(choose(reading), actions=undo_drains(reading))


def requested(reading: Reading) -> Choice:
    """Engine None: spec.replicas, up at once, down by draining. Needs no metrics, only the pods' own answers."""
    situation = reading.situation
    wanted = situation.spec.replicas
    context = Choice(DecisionAction.HOLD, situation.n, Reason.REPLICAS_REQUESTED, f"spec.replicas is {wanted}")
    if wanted > situation.n:
        return replace(context, action=DecisionAction.UP, to=wanted, actions=drain.grow(situation, wanted))
    frozen = rollout_freezes(situation)
    if not frozen and (pod := drain.removable(situation)) is not None:
        return removal_of(reading, context, pod)
    if not frozen and (first := first_of(reading, context)) is not None:
        return first
    return _requested_down(reading, context, wanted, frozen)


def _requested_down(reading: Reading, context: Choice, wanted: int, frozen: bool) -> Choice:
    situation = reading.situation
    if not frozen and (pair := drain.swap(situation)) is not None:
        return swap_of(reading, context, *pair)
    if wanted >= situation.n:
        return context
    checks = (
        (Blocker.ROLLOUT_IN_PROGRESS, frozen),
        (Blocker.DRAINS_AT_MAXIMUM, len(situation.marked) >= situation.spec.autoscaling.drain.max_parallel),
    )
    blocked = tuple(word for word, holds in checks if holds)
    pod = drain.victim(situation)
    if blocked or pod is None or situation.surplus:
        return replace(context, blocked=blocked)
    return replace(
        context,
        action=DecisionAction.DOWN,
        to=situation.n - 1,
        message=f"{context.message}; {pod.name} drains",
        actions=drain.start(situation, pod),
    )
