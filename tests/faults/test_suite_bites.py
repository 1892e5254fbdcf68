"""Each defence of the operator is taken out in turn: an oracle of the suite must notice."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults import crash_faults, leader_faults, metric_faults, token_faults, world_faults
from faults.api_faults import FAULTS
from faults.life import Reference, live, no_fault
from faults.mutants import MUTANTS
from faults.rig import OracleError, Rig

Scenario = Callable[[Rig, Reference], object]
Recorder = Callable[[str, object], None]
TABLE = Path(__file__).parents[2] / "build" / "fault-suite-mutants.md"
BROKEN = re.compile(r"TypeError|AttributeError|NameError|ImportError|KeyError|IndexError")
HEAD = ("| defence taken out | what that means | caught by | in the scenario |", "|---|---|---|---|")


def _life(fault: str) -> Scenario:
    def scenario(rig: Rig, reference: Reference) -> None:
        rig.start()
        live(rig, reference, FAULTS.get(fault, no_fault), FAULTS.get(fault, no_fault))

    return scenario


def _world(name: str) -> Scenario:
    def scenario(rig: Rig, reference: Reference) -> None:
        rig.start()
        world_faults.SCENARIOS[name](rig, reference)

    return scenario


def _blind(rig: Rig, reference: Reference) -> None:
    metric_faults.prometheus_fails(rig, ("down",))


def _churned(rig: Rig, reference: Reference) -> None:
    crash_faults.churn(rig, rounds=2, pipelines=3)


def _unseen(rig: Rig, reference: Reference) -> None:
    leader_faults.stood_by(rig, reference, leader_faults.pipelines_unseen)


CASES: dict[str, tuple[str, Scenario]] = {
    "drift_ignored": ("edited_by_hand", _world("edited_by_hand")),
    "drift_unchecked": ("no fault", _life("")),
    "preconditions_dropped": ("replaced_before_the_delete", _world("replaced_before_the_delete")),
    "versions_dropped": ("late_write", leader_faults.late_write),
    "status_versions_dropped": ("late_status", leader_faults.late_status),
    "mark_versions_dropped": ("late_mark", leader_faults.late_mark),
    "token_kept": ("rotated_token", token_faults.rotated_token),
    "tombstones_dropped": ("deleted_in_a_gap", _world("deleted_in_a_gap")),
    "fencing_dropped": ("sleeping_leader", leader_faults.sleeping_leader),
    "retry_after_forgotten": ("throttled", _life("throttled")),
    "resync_dropped": ("dropped_events", _life("dropped_events")),
    "terms_unlisted": ("pipelines_unseen", _unseen),
    "gives_up": ("server_errors", _life("server_errors")),
    "owners_dropped": ("no fault", _life("")),
    "everything_adopted": ("foreign_of_the_same_name", _world("foreign_of_the_same_name")),
    "replicas_in_manifest": ("no fault", _life("")),
    "first_number_forgotten": ("killed_before_the_first_number", crash_faults.killed_before_the_first_number),
    "lowered_blindly": ("prometheus_fails", _blind),
    "created_unseen": ("foreign_of_the_same_name", _world("foreign_of_the_same_name")),
    "memory_leaked": ("churn", _churned),
}


@pytest.fixture(scope="session")
def table() -> Iterator[list[str]]:
    """Rows of the table in docs/design/2026-11-21-fault-suite.md, written to build/ when the run is over."""
    rows: list[str] = []
    yield rows
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join([*HEAD, *sorted(rows, key=_position)]) + "\n")


def _position(row: str) -> int:
    return next(number for number, name in enumerate(CASES) if row.startswith(f"| `{name}`"))


@pytest.mark.soak
@pytest.mark.parametrize("mutant", CASES)
def test_the_suite_notices(
    mutant: str, make_rig: Callable[..., Rig], reference: Reference, table: list[str], record_property: Recorder
) -> None:
    name, scenario = CASES[mutant]
    rig = make_rig(mutant)
    with pytest.raises(OracleError) as caught:
        scenario(rig, reference)
    broken = [line for one in rig.operators for line in one.text().splitlines() if BROKEN.search(line)]
    assert broken == [], "the mutant does not fit the operator any more: anything would be noticed"
    meaning = " ".join((MUTANTS[mutant].__doc__ or "").split())
    table.append(f"| `{mutant}` | {meaning} | {caught.value.oracle} | `{name}` |")
    record_property("seen", str(caught.value))
    print(f"{mutant}: {caught.value}"[:400])
    assert caught.value.oracle != "the suite itself", str(caught.value)


def test_every_mutant_has_its_case() -> None:
    assert CASES.keys() == MUTANTS.keys()
