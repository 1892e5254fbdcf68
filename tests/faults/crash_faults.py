"""Kills, restarts, two operators and a leader that sleeps. Each is a whole scenario on a rig of its own."""

import time

from faults.life import EDIT, LEAST, MOST, Reference, create, edit, new_name
from faults.oracles import (
    bystander_untouched,
    clean_log,
    converges,
    counts,
    end_state,
    no_orphans,
    one_writer,
    quiet,
    replicas_within,
    same_counts,
)
from faults.proxy import Call, then
from faults.rig import LEASE_SECONDS, START_SECONDS, Operator, OracleError, Rig, eventually


def _mutates(call: Call) -> bool:
    return call.mutates


def _dies(operator: Operator, after: int) -> None:
    """The operator is killed when its next write but `after` - 1 has been carried out, before it knows."""
    rule = operator.proxy.rule(_mutates, then(operator.process.kill), skip=after - 1)
    rule.__enter__()  # for the rest of this short life


def _last_of_this_life(rig: Rig, operator: Operator, name: str, wanted: object, seconds: float = 40.0) -> bool:
    """Waits until the operator is dead (False) or has nothing left to do (True)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not operator.alive():
            return False
        if operator.leads() and end_state(rig, name) == wanted:
            return True
        time.sleep(0.1)
    raise OracleError("O1", f"{name} did not converge between two kills")


def killed_after_each_write(rig: Rig, reference: Reference) -> None:
    """No life of the operator is longer than one write, from the first to the last of a pipeline's life."""
    name, kills = new_name(), 0
    create(rig, name)
    for step, wanted in ((None, reference.created), (edit, reference.edited)):
        if step is not None:
            step(rig, name)
        while True:
            operator = rig.start(leading=False)
            _dies(operator, after=1)
            if _last_of_this_life(rig, operator, name, wanted):
                operator.kill()
                rig.hand_over()
                break
            kills += 1
            if kills > 60:
                raise OracleError("O12", f"{kills} lives of one write each were not enough")
            rig.hand_over()
    _after_crashes(rig, name, reference)


def killed_after_write(rig: Rig, reference: Reference, number: int) -> bool:
    """The operator is killed once, after its write `number`. False: it made fewer than that."""
    operator = rig.start()
    _dies(operator, after=number)
    name = new_name()
    create(rig, name)
    struck = not _last_of_this_life(rig, operator, name, reference.created)
    if struck:
        _next_life(rig)
        converges(rig, name, reference.created)
    edit(rig, name)
    if not struck:
        struck = not _last_of_this_life(rig, operator, name, reference.edited)
        if struck:
            _next_life(rig)
    converges(rig, name, reference.edited)
    if struck:
        _after_crashes(rig, name, reference, running=True)
    return struck


def killed_before_the_first_number(rig: Rig, reference: Reference) -> None:
    """Killed between making the Deployment and setting its number, in the mode that never sets another one."""
    operator, name = rig.start(), new_name()
    fatal = operator.proxy.rule(
        lambda call: call.mutates and call.resource == "deployments", then(operator.process.kill)
    )
    with fatal:
        rig.world.pipeline(name, autoscaling={"minReplicas": LEAST, "maxReplicas": MOST, "mode": "Advisory"})
        eventually(lambda: not operator.alive(), "the kill", oracle="the suite itself")
    _next_life(rig)
    eventually(lambda: rig.world.replicas(name) == LEAST, "the initial number of replicas", 20, oracle="O8")
    quiet(rig)
    clean_log(rig.operator)


def _next_life(rig: Rig) -> None:
    rig.hand_over()
    rig.start()


def _after_crashes(rig: Rig, name: str, reference: Reference, *, running: bool = False) -> None:
    if not running:
        before = len(rig.writes())
        _next_life(rig)
        time.sleep(3.0)
        if rig.writes(before):
            raise OracleError("O3", f"writes after a restart: {[f'{w.verb} {w.resource}' for w in rig.writes(before)]}")
    quiet(rig)
    same_counts(rig, name, reference.counts)
    replicas_within(rig, name, LEAST, MOST)
    rig.world.delete("MediaPipeline", name)
    no_orphans(rig, name)
    bystander_untouched(rig)
    clean_log(rig.operator)


def restarted(rig: Rig, reference: Reference) -> None:
    """A graceful restart with everything as it should be writes nothing at all."""
    first, name = rig.start(), new_name()
    create(rig, name)
    converges(rig, name, reference.created)
    quiet(rig)
    before = len(rig.writes())
    if first.stop() != 0:
        raise OracleError("O10", f"the operator ended with {first.process.returncode}")
    rig.start()
    quiet(rig, 4.0)
    if rig.writes(before):
        raise OracleError("O3", f"writes after a restart: {[f'{w.verb} {w.resource}' for w in rig.writes(before)]}")
    clean_log(rig.operator)


def _leader_and_standby(rig: Rig, standby_runs: str | None = None) -> tuple[Operator, Operator]:
    leader = rig.start()
    standby = rig.start(leading=False, mutant=standby_runs)
    eventually(standby.ready, "the standby to be ready", START_SECONDS)
    if standby.leads():
        raise OracleError("O11", "two operators lead")
    return leader, standby


def late_write(rig: Rig, reference: Reference) -> None:
    """The leader's write hangs in the network while it sleeps; it arrives when another one has long led."""
    leader, standby = _leader_and_standby(rig)
    name = new_name()
    create(rig, name)
    converges(rig, name, reference.created)
    with rig.holding(leader, "deployments") as write, rig.holding(leader, "mediapipelines", "status") as status:
        rig.world.change(name, {"sessions": {"maxPerReplica": 3}})
        eventually(write.arrived.is_set, "the leader's write", oracle="the suite itself")
        leader.pause()
        eventually(standby.leads, "the standby to take over", LEASE_SECONDS + 15)
        rig.world.change(name, EDIT)
        converges(rig, name, reference.edited)
        write.open()
        time.sleep(1.0)
        status.open()
        leader.wake()
        time.sleep(3.0)
        one_writer(leader, standby)
    converges(rig, name, reference.edited)
    _two_settled(rig, leader, standby, name)


def late_status(rig: Rig, reference: Reference) -> None:
    """As late_write, with the status of an edit that changes no child."""
    leader, standby = _leader_and_standby(rig)
    name = new_name()
    create(rig, name)
    converges(rig, name, reference.created)
    with rig.holding(leader, "mediapipelines", "status") as status:
        rig.world.change(name, {"autoscaling": {"maxReplicas": MOST + 1}})
        eventually(status.arrived.is_set, "the leader's write", oracle="the suite itself")
        leader.pause()
        eventually(standby.leads, "the standby to take over", LEASE_SECONDS + 15)
        rig.world.change(name, EDIT | {"autoscaling": {"maxReplicas": MOST}})
        converges(rig, name, reference.edited)
        status.open()
        time.sleep(1.0)
        leader.wake()
        time.sleep(3.0)
    _two_settled(rig, leader, standby, name)
    converges(rig, name, reference.edited)


def sleeping_leader(rig: Rig, reference: Reference, standby_runs: str | None = None) -> None:
    """The leader sleeps past its Lease and wakes up to work that is waiting, before the new leader gets to it."""
    leader, standby = _leader_and_standby(rig, standby_runs)
    name = new_name()
    create(rig, name)
    converges(rig, name, reference.created)
    leader.pause()
    eventually(standby.leads, "the standby to take over", LEASE_SECONDS + 15)
    time.sleep(2.0)  # its first tick
    with rig.holding(standby, "deployments") as write:
        rig.world.change(name, EDIT)
        eventually(write.arrived.is_set, "the new leader's write", oracle="the suite itself")
        before = len(leader.proxy.mutations())
        leader.wake()
        time.sleep(3.0)
        if leader.proxy.mutations()[before:]:
            late = [str(one.call) for one in leader.proxy.mutations()[before:]]
            raise OracleError("O11", f"a leader that had lost its Lease wrote {late}")
    edited = dict(reference.edited)
    if standby_runs:
        del edited["status"]  # by a clock that is an hour ahead, measurements have been missing for an hour
    converges(rig, name, edited)
    _two_settled(rig, leader, standby, name)


def _two_settled(rig: Rig, former: Operator, new: Operator, name: str) -> None:
    one_writer(former, new)
    quiet(rig)
    bystander_untouched(rig)
    clean_log(former)
    clean_log(new)
    if counts(rig, name)[("deployments", "NAME")] != (1, 0):
        raise OracleError("O2", "the Deployment was made more than once")


def churn(rig: Rig, rounds: int, pipelines: int) -> None:
    """Pipelines come and go; afterwards the process is about as large as before."""
    operator = rig.start()
    _round(rig, pipelines)  # caches, pools and imports of a first time
    _round(rig, pipelines)
    resident, handles = operator.resident_kib(), operator.handles()
    for _ in range(rounds):
        _round(rig, pipelines)
    grown = operator.resident_kib() - resident
    if grown > 200 * rounds * pipelines or operator.handles() > handles + 10:
        raise OracleError("O10", f"grown by {grown} KiB and {operator.handles() - handles} files and threads")
    clean_log(operator)


def _round(rig: Rig, pipelines: int) -> None:
    names = [new_name() for _ in range(pipelines)]
    for name in names:
        create(rig, name)
    for name in names:
        eventually(lambda name=name: rig.world.replicas(name) == LEAST, f"{name} to be there")
        rig.world.delete("MediaPipeline", name)
    for name in names:
        no_orphans(rig, name)
