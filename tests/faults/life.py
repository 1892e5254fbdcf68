"""The life of a pipeline that every fault is applied to: it is created, edited and deleted."""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

from faults.api_faults import Faulty, WriteFault, writes_for
from faults.oracles import (
    Counts,
    converges,
    counts,
    difference,
    end_state,
    moment,
    no_orphans,
    same_counts,
    settled,
    status_is_good,
)
from faults.rig import Rig, eventually
from faults.world import Json

LEAST, MOST = 2, 6
EDIT = {"sessions": {"maxPerReplica": 5}, "networking": {"ingress": None}}


@dataclass(frozen=True)
class Reference:
    """The end states and counts of the run without a fault."""

    created: Json
    edited: Json
    counts: Counts


def no_fault(rig: Rig) -> AbstractContextManager[object]:
    """Nothing goes wrong."""
    return nullcontext()


def new_name() -> str:
    """A name that occurs nowhere else, so that masks can replace it."""
    return f"p{secrets.token_hex(4)}"


def create(rig: Rig, name: str) -> None:
    rig.bounds[name] = (LEAST, MOST)
    rig.world.pipeline(name, autoscaling={"minReplicas": LEAST, "maxReplicas": MOST})


def created(rig: Rig, reference: Reference) -> str:
    """The name of a new pipeline that is as it should be."""
    name = new_name()
    create(rig, name)
    converges(rig, name, reference.created)
    return name


def edit(rig: Rig, name: str) -> None:
    rig.world.change(name, EDIT)


def reference_run(rig: Rig) -> Reference:
    """The life without a fault. Each state is taken when it has not changed for three seconds."""
    name = new_name()
    create(rig, name)
    begun = _settled(rig, name)
    edit(rig, name)
    edited = _settled(rig, name)
    wanted = counts(rig, name)
    rig.world.delete("MediaPipeline", name)
    return Reference(begun, edited, wanted)


def live(rig: Rig, reference: Reference, at_creation: Faulty, at_edit: Faulty) -> None:
    """The life with a fault around its creation and one around its edit; afterwards all oracles."""
    name = new_name()
    with at_creation(rig):
        create(rig, name)
    converges(rig, name, reference.created)
    with at_edit(rig):
        edit(rig, name)
    converges(rig, name, reference.edited)
    aftermath(rig, reference, name)


def live_side_by_side(rig: Rig, reference: Reference, faults: Sequence[WriteFault]) -> None:
    """As many pipelines as faults, at the same time; each fault strikes at the writes for its own pipeline."""
    lives = [(new_name(), fault) for fault in faults]
    steps: tuple[tuple[Callable[[Rig, str], None], Json], ...] = (
        (create, reference.created),
        (edit, reference.edited),
    )
    for step, wanted in steps:
        with ExitStack() as stack:
            for name, fault in lives:
                stack.enter_context(fault(rig, writes_for(name)))
                step(rig, name)
        for name, _ in lives:
            converges(rig, name, wanted)
    aftermath(rig, reference, *(name for name, _ in lives))


def aftermath(rig: Rig, reference: Reference, *names: str, counted: bool = True) -> None:
    """What holds after lives under faults; ends with the pipelines' deletion.

    `counted`: the objects were created and deleted as often as without faults.
    """
    settled(rig)
    if counted:
        for name in names:
            same_counts(rig, name, reference.counts)
    if rig.thorough:
        restarted_without_a_write(rig)
    gone(rig, *names)


def gone(rig: Rig, *names: str) -> None:
    """The pipelines are deleted, leave nothing behind, and nothing else was harmed."""
    for name in names:
        rig.world.delete("MediaPipeline", name)
    for name in names:
        no_orphans(rig, name)
    settled(rig, seconds=0.0)


def restarted_without_a_write(rig: Rig) -> None:
    """O3: all operators end in order, another one takes over, looks at every pipeline, and writes nothing."""
    before = moment(rig)
    for operator in rig.operators:
        if operator.alive():
            operator.stop()
    new = rig.start(*rig.operator.flags)
    pipelines = len(rig.world.items("MediaPipeline"))
    eventually(lambda: new.gauge("first_passes") == pipelines, "every pipeline's first pass")
    settled(rig, since=before)


def _settled(rig: Rig, name: str) -> Json:
    eventually(lambda: status_is_good(rig, name), f"{name} to be Ready without a fault")
    known, since = end_state(rig, name), time.monotonic()
    while time.monotonic() - since < 3.0:
        time.sleep(0.5)
        if difference(now := end_state(rig, name), known):
            known, since = now, time.monotonic()
    return known
