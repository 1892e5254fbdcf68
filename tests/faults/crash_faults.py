"""Kills and restarts. Each is a whole scenario on a rig of its own."""

import time

from faults.acts import then
from faults.api_faults import writes
from faults.life import EDIT, LEAST, MOST, Reference, aftermath, create, created, edit, gone, new_name
from faults.life import restarted_without_a_write as restart
from faults.oracles import converges, end_state, rest, same_counts, settled
from faults.rig import Operator, OracleError, Rig, eventually
from faults.world import Json

MOST_LIVES = 60


def _dies(operator: Operator, after: int) -> None:
    """The operator is killed when its write number `after` has been carried out, before it knows."""
    operator.proxy.add(writes, then(operator.die), skip=after - 1)  # for the rest of this short life


def _last_of_this_life(rig: Rig, operator: Operator, name: str, wanted: Json) -> bool:
    """Waits until the operator is dead (False) or has nothing left to do (True)."""
    deadline = time.monotonic() + rig.patience_seconds
    while time.monotonic() < deadline:
        if not operator.alive():
            return False
        if operator.leads() and end_state(rig, name) == wanted:
            return True
        time.sleep(0.2)
    raise OracleError("O1", f"{name} did not converge between two kills")


def killed_again_and_again(rig: Rig, reference: Reference, after: int) -> None:
    """No life of the operator is longer than `after` writes, from the first to the last of a pipeline's life."""
    name, kills = new_name(), 0
    create(rig, name)
    for step, wanted in ((None, reference.created), (edit, reference.edited)):
        if step is not None:
            step(rig, name)
        while not _lived(rig, name, wanted, after):
            kills += 1
            if kills > MOST_LIVES:
                raise OracleError("O12", f"{kills} lives of {after} writes each were not enough")
    if not kills:
        raise OracleError("the suite itself", "the operator was never killed")
    before = rest(rig)
    rig.start()
    settled(rig, since=before)
    same_counts(rig, name, reference.counts)
    gone(rig, name)


def _lived(rig: Rig, name: str, wanted: Json, writes_each: int) -> bool:
    """One life of the operator. Whether it found nothing left to do."""
    operator = rig.start(leading=False)
    _dies(operator, after=writes_each)
    done = _last_of_this_life(rig, operator, name, wanted)
    operator.kill()
    rig.hand_over()
    return done


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
        aftermath(rig, reference, name)
    return struck


def killed_before_the_first_number(rig: Rig, reference: Reference) -> None:
    """Killed between making the Deployment and setting its number, in the mode that never sets another one."""
    operator, name = rig.start(), new_name()
    fatal = operator.proxy.rule(lambda call: call.mutates and call.resource == "deployments", then(operator.die))
    with fatal:
        rig.world.pipeline(name, autoscaling={"minReplicas": LEAST, "maxReplicas": MOST, "mode": "Advisory"})
        rig.bounds[name] = (LEAST, MOST)
        eventually(lambda: not operator.alive(), "the kill", oracle="the suite itself")
    _next_life(rig)
    eventually(lambda: rig.world.replicas(name) == LEAST, "the initial number", rig.patience_seconds, oracle="O8")
    settled(rig)
    gone(rig, name)


def _next_life(rig: Rig) -> None:
    rig.hand_over()
    rig.start()


def restarted(rig: Rig, reference: Reference) -> None:
    """A graceful restart with everything as it should be writes nothing at all."""
    rig.start()
    name = created(rig, reference)
    settled(rig)
    restart(rig)
    rig.world.change(name, EDIT)
    converges(rig, name, reference.edited)
    aftermath(rig, reference, name)


def churn(rig: Rig, rounds: int, pipelines: int) -> None:
    """Pipelines come and go; afterwards the process is about as large as before."""
    operator = rig.start()
    for _ in range(2):  # caches, pools and imports of a first time
        _round(rig, pipelines)
    resident, handles = operator.resident_kib(), operator.handles()
    for _ in range(rounds):
        _round(rig, pipelines)
    grown, more = operator.resident_kib() - resident, operator.handles() - handles
    if grown > 200 * rounds * pipelines or more > 10:
        raise OracleError("O10", f"grown by {grown} KiB and {more} files, threads and tasks")
    settled(rig)


def _round(rig: Rig, pipelines: int) -> None:
    names = [new_name() for _ in range(pipelines)]
    for name in names:
        create(rig, name)
    for name in names:
        eventually(lambda name=name: rig.world.replicas(name) == LEAST, f"{name} to be there")
    gone(rig, *names)
