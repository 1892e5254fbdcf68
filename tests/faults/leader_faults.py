"""Two operators: one leads, sleeps, is overtaken and wakes up. Each is a whole scenario on a rig of its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from faults.acts import Gate, answer
from faults.api_faults import Faulty
from faults.fake_prometheus import FakePrometheus
from faults.life import EDIT, LEAST, MOST, Reference, aftermath, create, created, edit, gone, new_name, no_fault
from faults.metric_faults import BUSY, MEASURED, SESSIONS, draining, fresh
from faults.oracles import converges, counts, moment, no_orphans, same_counts, settled
from faults.rig import LEASE_SECONDS, START_SECONDS, Operator, OracleError, Rig, eventually
from faults.world import World
from faults.world_faults import kind_removed

_NO_RESYNC = "--resync-seconds=900"  # what is missed stays missed


def _leader_and_standby(rig: Rig, *flags: str, standby_runs: str | None = None) -> tuple[Operator, Operator]:
    leader = rig.start(*flags)
    standby = rig.start(*flags, leading=False, mutant=standby_runs)
    eventually(standby.ready, "the standby to be ready", START_SECONDS)
    if standby.leads():
        raise OracleError("O11", "two operators lead")
    return leader, standby


def _overtaken(standby: Operator, gate: Gate, first: Callable[[], None], second: Callable[[], None]) -> None:
    """`first` makes the leader write: it falls asleep over that. The standby leads only after `second`, so that it
    never sees what was before.
    """
    standby.pause()
    first()
    eventually(gate.arrived.is_set, "the leader's write", oracle="the suite itself")
    second()
    standby.wake()
    eventually(standby.leads, "the standby to take over", LEASE_SECONDS + START_SECONDS)


def _wakes(leader: Operator) -> None:
    """The former leader wakes up and finds its Lease gone; a second later it has done what it would."""
    leader.wake()
    eventually(lambda: "leadership_lost" in leader.text(), "the former leader to notice")
    time.sleep(1.0)


def _wakes_and_writes_nothing(rig: Rig, leader: Operator) -> None:
    """Also while nobody tells it that its Lease is gone: its own clock has to."""
    before = len(leader.proxy.mutations())
    with rig.holding(leader, "leases"):
        leader.wake()
        time.sleep(2.0)
    _wakes(leader)
    if late := [str(one.call) for one in leader.proxy.mutations()[before:]]:
        raise OracleError("O11", f"a leader that had lost its Lease wrote {late}")


def late_write(rig: Rig, reference: Reference) -> None:
    """The leader's write hangs in the network while it sleeps. It wakes up to work that is waiting, before the new
    leader gets to it; its write arrives when the new one has long written.
    """
    leader, standby = _leader_and_standby(rig)
    name = created(rig, reference)
    with rig.holding(leader, "deployments", falls_asleep=True) as late:
        other = {"sessions": {"maxPerReplica": 3}}
        with rig.holding(standby, "deployments") as write:
            _overtaken(standby, late, lambda: rig.world.change(name, other), lambda: edit(rig, name))
            eventually(write.arrived.is_set, "the new leader's write", oracle="the suite itself")
            _wakes_and_writes_nothing(rig, leader)
        converges(rig, name, reference.edited)
        late.open()
        time.sleep(1.0)
    _as_if_nothing_had_been(rig, reference, name)


def late_status(rig: Rig, reference: Reference) -> None:
    """As late_write, with the status of an edit that changes no child."""
    leader, standby = _leader_and_standby(rig)
    name = created(rig, reference)
    with rig.holding(leader, "mediapipelines", "status", falls_asleep=True) as status:
        other, back = ({"autoscaling": {"maxReplicas": most}} for most in (MOST + 1, MOST))
        _overtaken(standby, status, lambda: rig.world.change(name, other), lambda: rig.world.change(name, EDIT | back))
        converges(rig, name, reference.edited)
        status.open()
        _wakes(leader)
    _as_if_nothing_had_been(rig, reference, name)


def late_mark(rig: Rig, reference: Reference) -> None:
    """As late_write, with the mark that begins a pod's drain: the new leader has begun it, too, and undone it."""
    with rig.plane.client() as api, FakePrometheus(World(api, rig.namespace)) as prometheus:
        leader, standby = _leader_and_standby(rig, f"--prometheus-url={prometheus.url}")
        name = new_name()
        rig.bounds[name] = (LEAST, BUSY)
        prometheus.sessions = SESSIONS
        rig.world.pipeline(name, **MEASURED)
        eventually(lambda: rig.world.replicas(name) == BUSY and fresh(rig, name), "five busy replicas")
        with rig.holding(leader, "pods", falls_asleep=True) as mark:
            _overtaken(standby, mark, lambda: prometheus.carry(0), lambda: None)
            eventually(lambda: draining(rig), "a drain by the new leader")
            prometheus.carry(2 * SESSIONS)  # more than the others can take
            eventually(lambda: not draining(rig), "the drain to be undone")
            mark.open()
            _wakes(leader)
        settled(rig)
        if draining(rig):
            raise OracleError("O11", "a former leader's mark is on a pod")
        gone(rig, name)


@contextmanager
def pipelines_unseen(rig: Rig) -> Iterator[None]:
    """No event of a MediaPipeline arrives, and nobody notices."""
    with rig.operator.proxy.filter(lambda call, event: [] if call.kopf else [event]):
        yield


def _pipelines_refused(status: int) -> Faulty:
    """Lists and watches of MediaPipelines are refused; running ones are cut."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        with rig.operator.proxy.rule(lambda call: call.resource == "mediapipelines", answer(status)):
            rig.operator.proxy.end_watches()
            yield

    return fault


WHILE_STANDING_BY: dict[str, Faulty] = {
    "no_fault": no_fault,
    "pipelines_unseen": pipelines_unseen,
    "watches_expired": _pipelines_refused(410),
    "token_refused": _pipelines_refused(401),
    "kind_forbidden": _pipelines_refused(403),
}


def stood_by(rig: Rig, reference: Reference, fault: Faulty = no_fault) -> None:
    """Pipelines are made, edited, deleted and made anew under their name while an instance stands by, which the fault
    strikes. Then the leader stops: its successor knows them as they are, and has nothing to write.
    """
    leader, standby = _leader_and_standby(rig, _NO_RESYNC)
    edited, lost, again = (created(rig, reference) for _ in range(3))
    settled(rig)
    with fault(rig):
        made = new_name()
        create(rig, made)
        edit(rig, edited)
        for name in (lost, again):
            rig.world.delete("MediaPipeline", name)
        no_orphans(rig, again)
        create(rig, again)
        for name, wanted in ((edited, reference.edited), (made, reference.created), (again, reference.created)):
            converges(rig, name, wanted)
        settled(rig)
        before = moment(rig)
        if fault is pipelines_unseen:
            leader.stop()
            eventually(lambda: _took_over(standby), "the standby to begin with its passes")
    if leader.alive():
        leader.stop()
        eventually(lambda: _took_over(standby), "the standby to begin with its passes")
    settled(rig, since=before)
    for name in (made, again):
        edit(rig, name)
        converges(rig, name, reference.edited)
    for name in (made, edited):
        same_counts(rig, name, reference.counts)
    aftermath(rig, reference, made, edited, again, counted=False)


def _took_over(operator: Operator) -> bool:
    """Whether it has looked at a pipeline; with so few, at all in the next moment."""
    return operator.leads() and operator.gauge("first_passes") > 0


def kind_gone_while_standing_by(rig: Rig, reference: Reference, install: Callable[[], None]) -> None:
    """The MediaPipeline kind is removed, with all pipelines, and comes back while an instance stands by."""
    leader, standby = _leader_and_standby(rig, _NO_RESYNC)
    name = kind_removed(rig, reference, install)
    settled(rig)
    before = moment(rig)
    leader.stop()
    eventually(lambda: _took_over(standby), "the standby to begin with its passes")
    settled(rig, since=before)
    edit(rig, name)
    converges(rig, name, reference.edited)
    gone(rig, name)


def sleeping_leader(rig: Rig, reference: Reference) -> None:
    """The leader sleeps past its Lease and wakes up to work that is waiting, before the new leader gets to it."""
    leader, standby = _leader_and_standby(rig)
    name = created(rig, reference)
    _slept_through(rig, leader, standby, name)
    _as_if_nothing_had_been(rig, reference, name)


def clocks_an_hour_apart(rig: Rig, reference: Reference) -> None:
    """As sleeping_leader; the standby's clock is an hour ahead. Then one with the right time takes over again."""
    leader, standby = _leader_and_standby(rig, standby_runs="clock_ahead")
    name = created(rig, reference)
    _slept_through(rig, leader, standby, name)
    converges(rig, name, {key: value for key, value in reference.edited.items() if key != "status"})
    settled(rig)
    for operator in (leader, standby):
        operator.stop()
    rig.start()
    _as_if_nothing_had_been(rig, reference, name)


def _slept_through(rig: Rig, leader: Operator, standby: Operator, name: str) -> None:
    leader.pause()
    eventually(standby.leads, "the standby to take over", LEASE_SECONDS + START_SECONDS)
    eventually(lambda: standby.gauge("first_passes") == 1, "the new leader to look at it")
    with rig.holding(standby, "deployments") as write:
        edit(rig, name)
        eventually(write.arrived.is_set, "the new leader's write", oracle="the suite itself")
        _wakes_and_writes_nothing(rig, leader)


def _as_if_nothing_had_been(rig: Rig, reference: Reference, name: str) -> None:
    converges(rig, name, reference.edited)
    if counts(rig, name)[("deployments", "NAME")] != (1, 0):
        raise OracleError("O2", "the Deployment was made more than once")
    aftermath(rig, reference, name, counted=False)
