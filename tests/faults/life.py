"""The life of a pipeline that every fault is applied to: it is created, edited and deleted."""

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from faults.oracles import (
    Counts,
    bystander_untouched,
    clean_log,
    converges,
    counts,
    difference,
    end_state,
    no_orphans,
    quiet,
    replicas_within,
    same_counts,
)
from faults.rig import Json, Rig, eventually

LEAST, MOST = 2, 6
EDIT = {"sessions": {"maxPerReplica": 5}, "networking": {"ingress": None}}
Fault = Callable[[Rig], AbstractContextManager[object]]


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
    rig.world.pipeline(name, autoscaling={"minReplicas": LEAST, "maxReplicas": MOST})


def edit(rig: Rig, name: str) -> None:
    rig.world.change(name, EDIT)


def reference_run(rig: Rig) -> Reference:
    """The life without a fault. Each state is taken when it has not changed for three seconds."""
    name = new_name()
    create(rig, name)
    created = _settled(rig, name)
    edit(rig, name)
    edited = _settled(rig, name)
    quiet(rig)
    wanted = counts(rig, name)
    rig.world.delete("MediaPipeline", name)
    no_orphans(rig, name)
    return Reference(created, edited, wanted)


def live(rig: Rig, reference: Reference, fault: Fault, *, only_edit: bool = False) -> None:
    """The life with a fault around its creation and its edit; afterwards all oracles."""
    name, log_before = new_name(), len(rig.operator.text())
    with (no_fault if only_edit else fault)(rig):
        create(rig, name)
    converges(rig, name, reference.created)
    with fault(rig):
        edit(rig, name)
    converges(rig, name, reference.edited)
    aftermath(rig, name, reference, log_before)


def aftermath(rig: Rig, name: str, reference: Reference, log_before: int = 0, *, counted: bool = True) -> None:
    """What holds after a life under a fault; ends with the pipeline's deletion."""
    quiet(rig)
    if counted:
        same_counts(rig, name, reference.counts)
    replicas_within(rig, name, LEAST, MOST)
    rig.world.delete("MediaPipeline", name)
    no_orphans(rig, name)
    bystander_untouched(rig)
    clean_log(rig.operator, log_before)


def _settled(rig: Rig, name: str) -> Json:
    def ready() -> bool:
        status = end_state(rig, name)["status"]
        return bool(
            status.get("current") and status["conditions"].get("Ready", [""])[0] == "True" and status["summary"]
        )

    eventually(ready, f"{name} to be Ready without a fault")
    known, since = end_state(rig, name), time.monotonic()
    while time.monotonic() - since < 3.0:
        time.sleep(0.3)
        if difference(now := end_state(rig, name), known):
            known, since = now, time.monotonic()
    return known
