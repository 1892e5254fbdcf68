"""A pipeline lives through each fault of the API server and ends as it would have without."""

import pytest

from faults.api_faults import FAULTS, LONG_FAULTS, WRITE_FAULTS
from faults.life import Reference, live, live_side_by_side, no_fault
from faults.rig import Rig


@pytest.mark.soak
def test_a_life_without_a_fault_is_like_the_reference(shared: Rig, reference: Reference) -> None:
    live(shared, reference, no_fault, no_fault)


def test_each_pipeline_lives_through_trouble_with_its_own_writes(shared: Rig, reference: Reference) -> None:
    live_side_by_side(shared, reference, list(WRITE_FAULTS.values()))


@pytest.mark.parametrize(
    ("at_creation", "at_edit"), [("stale_reads", "server_errors"), ("login_page", "dropped_events")]
)
def test_a_pipeline_lives_through_one_fault_after_the_other(
    at_creation: str, at_edit: str, shared: Rig, reference: Reference
) -> None:
    live(shared, reference, FAULTS[at_creation], FAULTS[at_edit])


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_a_pipeline_lives_through(fault: str, shared: Rig, reference: Reference) -> None:
    live(shared, reference, FAULTS[fault], FAULTS[fault])


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", LONG_FAULTS)
def test_a_pipeline_lives_through_a_long(fault: str, shared: Rig, reference: Reference) -> None:
    live(shared, reference, no_fault, LONG_FAULTS[fault])
