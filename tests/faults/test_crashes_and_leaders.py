"""The operator is killed after each of its writes, restarted, doubled and put to sleep; the end is always the same."""

from collections.abc import Callable

import httpx
import pytest

from faults import crash_faults, leader_faults
from faults.life import Reference
from faults.rig import Rig

WRITES = 30  # at most, of one pipeline's life: nine children, replicas, Ingress, and the status along the way


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killed_after_each_write_from_the_first_to_the_last(rig: Rig, reference: Reference) -> None:
    crash_faults.killed_again_and_again(rig, reference, after=1)


@pytest.mark.soak
@pytest.mark.timeout(2700)
def test_killed_once_after_write_number_k_for_all_k(make_rig: Callable[..., Rig], reference: Reference) -> None:
    for number in range(1, WRITES + 1):
        if not crash_faults.killed_after_write(make_rig(), reference, number):
            break
    else:
        pytest.fail(f"a pipeline's life takes more than {WRITES} writes")
    assert number > 10


@pytest.mark.soak
def test_killed_between_the_deployment_and_its_first_number(rig: Rig, reference: Reference) -> None:
    crash_faults.killed_before_the_first_number(rig, reference)


@pytest.mark.soak
def test_a_graceful_restart_writes_nothing(rig: Rig, reference: Reference) -> None:
    crash_faults.restarted(rig, reference)


@pytest.mark.soak
def test_a_sleeping_leader_wakes_up_and_writes_nothing(rig: Rig, reference: Reference) -> None:
    leader_faults.sleeping_leader(rig, reference)


@pytest.mark.soak
def test_operators_whose_clocks_differ_by_an_hour_follow_each_other(rig: Rig, reference: Reference) -> None:
    leader_faults.clocks_an_hour_apart(rig, reference)


@pytest.mark.soak
@pytest.mark.parametrize("fault", leader_faults.WHILE_STANDING_BY)
def test_the_successor_of_a_stopped_leader_has_nothing_to_write_after(
    fault: str, rig: Rig, reference: Reference
) -> None:
    leader_faults.stood_by(rig, reference, leader_faults.WHILE_STANDING_BY[fault])


@pytest.mark.soak
def test_the_kind_is_removed_and_comes_back_while_an_instance_stands_by(
    rig: Rig, reference: Reference, crd: Callable[[httpx.Client], None]
) -> None:
    leader_faults.kind_gone_while_standing_by(rig, reference, lambda: crd(rig.world.api))


@pytest.mark.soak
def test_a_late_status_of_a_former_leader_fails(rig: Rig, reference: Reference) -> None:
    leader_faults.late_status(rig, reference)


@pytest.mark.soak
def test_a_late_mark_of_a_former_leader_fails(rig: Rig, reference: Reference) -> None:
    leader_faults.late_mark(rig, reference)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_memory_files_threads_and_tasks_stay_flat(rig: Rig) -> None:
    crash_faults.churn(rig, rounds=6, pipelines=5)
