"""The one actuator: drain, then delete. Whoever wants a number, this is how it is carried out."""

from __future__ import annotations

from datetime import datetime, timedelta

from mediapipeline_operator.api.spec import DrainTimeoutAction
from mediapipeline_operator.core.scaling.model import (
    Action,
    DrainRecord,
    MarkDraining,
    MarkFirst,
    PodFacts,
    RequestDrain,
    RequestUndrain,
    SetReplicas,
    Unmark,
)
from mediapipeline_operator.core.scaling.situation import Situation
from mediapipeline_operator.core.scaling.state import stamp

UNKNOWN_SESSIONS = 1_000_000  # a pod that nobody knows anything about is the last to choose


def victim(situation: Situation) -> PodFacts | None:
    """Not ready first, then fewest sessions, then the newest."""
    return min(situation.unmarked, key=lambda pod: _victim_rank(situation, pod), default=None)


def _victim_rank(situation: Situation, pod: PodFacts) -> tuple[bool, int, float, str]:
    sessions = situation.sessions_on(pod)
    return (pod.ready, UNKNOWN_SESSIONS if sessions is None else sessions, -pod.created.timestamp(), pod.name)


def start(situation: Situation, pod: PodFacts) -> tuple[Action, ...]:
    """Marks first: if the operator dies in between, the next pass sees the mark and asks the pod again."""
    return (MarkDraining(pod.name, pod.uid, stamp(situation.now)), *_request_drain(pod))


def cancel(pod: PodFacts) -> tuple[Action, ...]:
    """Un-drain: capacity at once, without a start-up."""
    request = (RequestUndrain(pod.name, pod.uid, pod.address),) if pod.address else ()
    return (Unmark(pod.name, pod.uid), *request)


def _request_drain(pod: PodFacts) -> tuple[RequestDrain, ...]:
    return (RequestDrain(pod.name, pod.uid, pod.address),) if pod.address else ()


def cancellable(situation: Situation) -> tuple[PodFacts, ...]:
    """Draining pods within the Deployment's number, the one with the most sessions first: it would block longest."""
    leaving = {drain.uid for drain in situation.before.drains if drain.removing}
    pods = [pod for pod in situation.marked if not (situation.surplus and pod.uid in leaving)]
    pods.sort(key=lambda pod: (-(situation.sessions_on(pod) or 0), pod.name))
    return tuple(pods[: situation.draining_count])


def grow(situation: Situation, target: int) -> tuple[Action, ...]:
    """From n to `target` serving replicas: un-drain first, then raise the Deployment."""
    back = cancellable(situation)[: target - situation.n]
    actions = [action for pod in back for action in cancel(pod)]
    rest = target - situation.n - len(back)
    if rest > 0:
        actions.append(SetReplicas(to=situation.workload.replicas + rest, expect=situation.workload.replicas))
    return tuple(actions)


def shrink(situation: Situation) -> SetReplicas:
    return SetReplicas(to=situation.workload.replicas - 1, expect=situation.workload.replicas)


def is_empty(pod: PodFacts) -> bool:
    """The pod itself says, in this pass, that it drains and has no session; a pod without an address never had one."""
    if pod.ready:
        return False
    never_served = pod.address is None and pod.ready_since is None
    return never_served or (pod.admin_draining is True and pod.sessions == 0)


def removable(situation: Situation) -> PodFacts | None:
    """A drained pod that the ReplicaSet is sure to choose when replicas are lowered by one.

    It deletes unready pods before it looks at the deletion cost, and of those the one with the lowest. With any other
    pod unready, that one might go, with its sessions; so every other pod must be Ready, or be empty and draining
    itself, or drain at a higher cost than this one.
    """
    if situation.surplus:
        return None  # the last removal has yet to be seen through
    return next((pod for pod in situation.marked if _may_go(situation, pod)), None)


def _may_go(situation: Situation, pod: PodFacts) -> bool:
    others = [other for other in situation.live if other.uid != pod.uid]
    if is_empty(pod) and pod.goes_first:
        return all(other.ready or is_empty(other) or _goes_later(other) for other in others)
    return (is_empty(pod) or is_forced(situation, pod)) and all(other.ready or is_empty(other) for other in others)


def _goes_later(pod: PodFacts) -> bool:
    """It has answered in this pass, so that it runs (a Pending pod goes before any cost counts), and costs more."""
    return pod.draining and pod.admin_draining is True and not pod.goes_first


def to_mark_first(situation: Situation) -> PodFacts | None:
    """An empty pod that only slower drains hold up. Replicas are lowered in a later pass, when its cost is seen."""
    if situation.surplus:
        return None
    empty = [pod for pod in situation.marked if is_empty(pod) and pod.address and not pod.goes_first]
    return next((pod for pod in empty if _held_up_by_drains(situation, pod)), None)


def _held_up_by_drains(situation: Situation, pod: PodFacts) -> bool:
    others = [other for other in situation.live if other.uid != pod.uid and not other.ready and not is_empty(other)]
    return bool(others) and all(_goes_later(other) for other in others)


def mark_first(pod: PodFacts) -> MarkFirst:
    return MarkFirst(pod.name, pod.uid)


def is_forced(situation: Situation, pod: PodFacts) -> bool:
    """onTimeout Force, the time is over, and the pod is out of the Service."""
    force = situation.spec.autoscaling.drain.on_timeout is DrainTimeoutAction.FORCE
    return force and not pod.ready and is_timed_out(situation, pod)


def is_timed_out(situation: Situation, pod: PodFacts) -> bool:
    return situation.now >= started_at(situation, pod) + timedelta(
        seconds=situation.spec.autoscaling.drain.timeout_seconds
    )


def started_at(situation: Situation, pod: PodFacts) -> datetime:
    """The annotation, else what status remembers, else now: a lost annotation, or one by a clock that was ahead, only
    makes the wait longer.
    """
    if pod.drain_started is not None and stamp(pod.drain_started) <= situation.now:
        return stamp(pod.drain_started)
    known = (drain.started for drain in situation.before.drains if drain.uid == pod.uid)
    return next(known, stamp(situation.now))


def swap(situation: Situation) -> tuple[PodFacts, PodFacts] | None:
    """(waiting, empty): another pod has become empty while a drain waits, so the empty one goes instead.

    Without it one endless session blocks scaling down for ever.
    """
    waiting = [pod for pod in situation.marked if pod.sessions]
    empty = [pod for pod in situation.serving if pod.sessions == 0 and pod.admin_draining is False]
    if not waiting or not empty or situation.surplus:
        return None
    return max(waiting, key=lambda pod: (pod.sessions or 0, pod.name)), max(
        empty, key=lambda pod: (pod.created, pod.name)
    )


def reassert(situation: Situation) -> tuple[RequestDrain | RequestUndrain, ...]:
    """Marked pods must drain (a restarted container forgets), unmarked ones must not."""
    actions: list[RequestDrain | RequestUndrain] = []
    for pod in situation.live:
        if pod.draining and pod.admin_draining is not True:
            actions.extend(_request_drain(pod))
        if not pod.draining and pod.admin_draining is True and pod.address:
            actions.append(RequestUndrain(pod.name, pod.uid, pod.address))
    return tuple(actions)


def records(situation: Situation, actions: tuple[Action, ...]) -> tuple[DrainRecord, ...]:
    """The drains as they are once `actions` are carried out."""
    ended = {action.uid for action in actions if isinstance(action, Unmark)}
    known = {drain.uid: drain for drain in situation.before.drains}
    lowered = any(isinstance(action, SetReplicas) and action.to < action.expect for action in actions)
    going = removable(situation) if lowered else None
    kept = [
        DrainRecord(
            pod=pod.name,
            uid=pod.uid,
            started=started_at(situation, pod),
            sessions=situation.sessions_on(pod),
            removing=pod is going or (pod.uid in known and known[pod.uid].removing and situation.surplus > 0),
        )
        for pod in situation.marked
        if pod.uid not in ended
    ]
    new = [
        DrainRecord(action.pod, action.uid, action.at, _sessions_of(situation, action.uid))
        for action in actions
        if isinstance(action, MarkDraining)
    ]
    return (*kept, *new)


def _sessions_of(situation: Situation, uid: str) -> int | None:
    return next((situation.sessions_on(pod) for pod in situation.live if pod.uid == uid), None)


def to_ask(pods: tuple[PodFacts, ...]) -> tuple[str, ...]:
    """Uids of the pods whose own answer the next decision needs, to be asked in the same pass in which it is taken.

    Marked pods always; while one drains, all others too (one may be empty); unready ones, which may drain unasked.
    """
    live = [pod for pod in pods if not pod.terminating and pod.address]
    draining = any(pod.draining for pod in live)
    return tuple(pod.uid for pod in live if draining or not pod.ready)
