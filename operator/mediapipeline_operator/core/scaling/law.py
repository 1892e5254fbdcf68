"""The law: proposals up, then the one actuator, then one replica down. The order of the rules is the order here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mediapipeline_operator.api.spec import Policy
from mediapipeline_operator.core.scaling import drain, latency, limits, schedules, votes
from mediapipeline_operator.core.scaling.counting import counted
from mediapipeline_operator.core.scaling.demand import rejected_demand
from mediapipeline_operator.core.scaling.feedforward import feed_forward, no_free_session
from mediapipeline_operator.core.scaling.model import Action, PodFacts, Prediction, Proposal
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import Blocker, DataState, DecisionAction, Limit, Reason
from mediapipeline_operator.core.scaling.removal import predict, removal_blockers, rollout_freezes
from mediapipeline_operator.core.scaling.states import BLIND, LOWERING, SESSIONS_KNOWN, SIGNALS_KNOWN


@dataclass(frozen=True, slots=True)
class Choice:
    """What is done in this tick, before it is explained. `to` counts serving replicas."""

    action: DecisionAction
    to: int
    reason: Reason
    message: str
    actions: tuple[Action, ...] = ()
    limited: tuple[Limit, ...] = ()
    blocked: tuple[Blocker, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    prediction: Prediction | None = None
    feedback_step: bool = False
    deed: str = ""  # what is done to a replica while the number stays


def choose(reading: Reading) -> Choice:
    """Engine Operator: up, else let a drained replica go, else swap the victim, else start one drain, else hold."""
    asked = proposals(reading)
    prediction = predict(reading)
    blocked = removal_blockers(reading, prediction)
    context = Choice(
        action=DecisionAction.HOLD,
        to=reading.situation.n,
        reason=Reason.WITHIN_TARGETS,
        message="",
        blocked=blocked,
        proposals=asked,
        prediction=prediction,
    )
    rules: tuple[Callable[[Reading, Choice], Choice | None], ...] = (up, remove, swap, down, hold)
    return next(choice for rule in rules if (choice := rule(reading, context)) is not None)


def proposals(reading: Reading) -> tuple[Proposal, ...]:
    """What every rule asks for. All of them are shown, the largest wins."""
    found = [_minimum(reading), _fallback(reading)]
    if reading.data_state in SESSIONS_KNOWN:
        if reading.situation.spec.autoscaling.policy is Policy.SLO:
            found.append(feed_forward(reading.situation, reading.sessions, reading.capacity))
        found.append(no_free_session(reading.situation))
        found.append(rejected_demand(reading.situation, reading.rejected_since))
    if reading.data_state in SIGNALS_KNOWN:
        found.extend(votes.proposals(reading.situation))
    if not reading.effect.exhausted:
        found.append(reading.feedback_due)
    return tuple(proposal for proposal in found if proposal is not None)


def _minimum(reading: Reading) -> Proposal | None:
    """minReplicas applies to serving replicas, whatever is known of the load."""
    fewest = reading.situation.spec.autoscaling.min_replicas
    if reading.situation.n >= fewest:
        return None
    return Proposal(Reason.BELOW_MINIMUM, fewest, f"minReplicas is {fewest}{_scheduled(reading)}")


def _scheduled(reading: Reading) -> str:
    """Who set the bound, where a schedule holds."""
    return schedules.names(reading.situation.spec, reading.situation.now)


def fallback_active(reading: Reading) -> bool:
    """Blind for longer than fallback.afterSeconds, and a number was given."""
    fallback = reading.situation.spec.autoscaling.fallback
    blind = reading.data_state in BLIND and reading.unknown_seconds >= fallback.after_seconds
    return blind and fallback.replicas is not None


def _fallback(reading: Reading) -> Proposal | None:
    """max(current, fallback.replicas): it never lowers, since blind is when lowering is most dangerous."""
    replicas = reading.situation.spec.autoscaling.fallback.replicas
    if replicas is None or not fallback_active(reading):
        return None
    text = f"no usable metrics for {reading.unknown_seconds:.0f} s, fallback.replicas is {replicas}"
    return Proposal(Reason.FALLBACK, replicas, text)


def up(reading: Reading, context: Choice) -> Choice | None:
    """The largest proposal above n, within the limits; draining replicas come back before new ones are made."""
    n = reading.situation.n
    best = max(context.proposals, key=lambda proposal: proposal.replicas, default=None)
    if best is None or best.replicas <= n:
        return None
    target, limited = limits.limit_up(reading.situation, best.replicas)
    if target <= n:
        reason = Reason.CAPACITY_EXHAUSTED if Limit.MAX_REPLICAS in limited else Reason.SCALE_UP_PENDING
        held = replace(context, reason=reason, message=best.message, limited=limited)
        return _serve(reading, held)
    taken = reading.feedback_due is not None and target >= reading.feedback_due.replicas
    return replace(
        context,
        action=DecisionAction.UP,
        to=target,
        reason=best.reason,
        message=best.message,
        actions=drain.grow(reading.situation, target),
        limited=limited,
        feedback_step=taken and not reading.effect.exhausted,
    )


def _serve(reading: Reading, held: Choice) -> Choice:
    """A number that cannot be raised is no reason to keep a drained replica, or to stay above the maximum."""
    gone = remove(reading, held)
    if gone is None and is_above_maximum(reading):
        gone = down(reading, held)
    return gone or held


def is_above_maximum(reading: Reading) -> bool:
    return reading.situation.n > reading.situation.spec.autoscaling.max_replicas


def may_lower(reading: Reading) -> bool:
    """Deleting, even a drained replica, waits for data: while blind, an un-drain may be needed any moment."""
    return reading.data_state in LOWERING and not rollout_freezes(reading.situation)


def remove(reading: Reading, context: Choice) -> Choice | None:
    """Lowers replicas for a drained pod. It counted as draining already, so n does not change."""
    if not may_lower(reading):
        return None
    pod = drain.removable(reading.situation)
    return first_of(reading, context) if pod is None else removal_of(reading, context, pod)


def first_of(reading: Reading, context: Choice) -> Choice | None:
    """Of several drains one has become empty: it is put before the slower ones, and goes in the next pass."""
    pod = drain.to_mark_first(reading.situation)
    if pod is None:
        return None
    return replace(
        context,
        reason=Reason.REPLICA_DRAINED,
        message="it is empty and the others that drain are not",
        actions=(drain.mark_first(pod),),
        deed=f"let {pod.name} go first",
    )


def removal_of(reading: Reading, context: Choice, pod: PodFacts) -> Choice:
    """The replica that has drained goes, for whoever asked for it."""
    forced = not drain.is_empty(pod)
    left = "unknown sessions" if pod.sessions is None else counted(pod.sessions, "session")
    return replace(
        context,
        action=DecisionAction.REMOVE,
        reason=Reason.DRAIN_FORCED if forced else Reason.REPLICA_DRAINED,
        message=f"its drain has timed out with {left} left" if forced else "it has drained and is empty",
        actions=(drain.shrink(reading.situation),),
        deed=f"remove {pod.name}",
    )


def swap(reading: Reading, context: Choice) -> Choice | None:
    """The waiting victim comes back and the empty replica goes instead; n does not change."""
    pair = drain.swap(reading.situation) if may_lower(reading) else None
    return None if pair is None else swap_of(reading, context, *pair)


def swap_of(reading: Reading, context: Choice, waiting: PodFacts, empty: PodFacts) -> Choice:
    """`waiting` serves again and `empty` drains in its place."""
    left = counted(waiting.sessions or 0, "session")
    return replace(
        context,
        reason=Reason.VICTIM_SWAPPED,
        message=f"it has become empty and {waiting.name} still has {left}",
        actions=(*drain.cancel(waiting), *drain.start(reading.situation, empty)),
        deed=f"drain {empty.name} instead of {waiting.name}",
    )


def down(reading: Reading, context: Choice) -> Choice | None:
    """Starts one drain if nothing forbids it, or if the number is above maxReplicas."""
    situation = reading.situation
    above = is_above_maximum(reading)
    blocked = tuple(word for word in context.blocked if not above or word in STRUCTURAL)
    pod = drain.victim(situation)
    if blocked or pod is None or situation.surplus:
        return None
    reason, message = _why_down(reading, above)
    return replace(
        context,
        action=DecisionAction.DOWN,
        to=situation.n - 1,
        reason=reason,
        message=f"{message}; {pod.name} drains",
        actions=drain.start(situation, pod),
        blocked=(),
    )


STRUCTURAL = frozenset({Blocker.DATA_STATE, Blocker.ROLLOUT_IN_PROGRESS, Blocker.DRAINS_AT_MAXIMUM})


def _why_down(reading: Reading, above: bool) -> tuple[Reason, str]:
    spec = reading.situation.spec.autoscaling
    lower = spec.latency.scale_down
    if above:
        return Reason.ABOVE_MAXIMUM, f"maxReplicas is {spec.max_replicas}{_scheduled(reading)}"
    if reading.data_state is DataState.IDLE:
        return Reason.NO_TRAFFIC, f"no sessions for {lower.for_seconds} s"
    prediction = predict(reading)
    after = (
        f", {100 * prediction.utilization:.0f} % used after it"
        if prediction and prediction.utilization is not None
        else ""
    )
    return Reason.LATENCY_LOW, f"p95 was below {lower.below_milliseconds} ms for {lower.for_seconds} s{after}"


def hold(reading: Reading, context: Choice) -> Choice:
    """Nothing to do, and why."""
    reason, message = _why_hold(reading, context)
    return replace(context, reason=reason, message=message)


def _why_hold(reading: Reading, context: Choice) -> tuple[Reason, str]:
    unknown = HELD_BY_DATA.get(reading.data_state)
    situation = reading.situation
    if unknown is not None:
        return unknown, reading.verdict.message
    if reading.effect.exhausted:
        return (
            Reason.SCALE_UP_INEFFECTIVE,
            f"{latency.high_text(situation, reading.breach_since)}; the last replicas did not help",
        )
    if latency.is_high(situation):
        return Reason.SCALE_UP_PENDING, latency.high_text(situation, reading.breach_since)
    if reading.healthy_since is None or situation.n <= situation.spec.autoscaling.min_replicas:
        return Reason.WITHIN_TARGETS, _within_text(reading)
    if Blocker.HEALTHY_TOO_SHORT in context.blocked:
        return Reason.SCALE_DOWN_PENDING, _within_text(reading)
    return Reason.SCALE_DOWN_BLOCKED, _within_text(reading)


HELD_BY_DATA = {
    DataState.STARTING: Reason.STARTING,
    DataState.PARTIAL: Reason.METRICS_PARTIAL,
    DataState.STALE: Reason.METRICS_STALE,
    DataState.MISSING: Reason.METRICS_MISSING,
}


def _within_text(reading: Reading) -> str:
    """p95 against the two thresholds, as a person reads it."""
    situation, spec = reading.situation, reading.situation.spec.autoscaling.latency
    if reading.data_state in (DataState.IDLE, DataState.LOW_SAMPLE):
        return reading.verdict.message
    p95 = situation.p95_milliseconds
    shown = "above the top bucket" if p95 is None else f"{p95} ms"
    high, low = spec.scale_up.above_milliseconds, spec.scale_down.below_milliseconds
    return f"p95 is {shown} (up above {high} ms, down below {low} ms)"
