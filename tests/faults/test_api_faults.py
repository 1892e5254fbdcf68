"""A pipeline lives through each fault of the API server and ends as it would have without."""

import pytest

from faults.api_faults import FAULTS, LONG_FAULTS
from faults.life import Reference, live, no_fault
from faults.rig import Rig

BOUNDED = ("conflicts", "throttled", "server_errors", "lost_answers", "stale_reads", "dropped_events")


def _bounded(name: str) -> object:
    return name if name in BOUNDED else pytest.param(name, marks=pytest.mark.soak)  # deleted_in_a_gap is a 410, too


@pytest.mark.soak
def test_a_life_without_a_fault_is_like_the_reference(shared: Rig, reference: Reference) -> None:
    live(shared, reference, no_fault)


@pytest.mark.parametrize("fault", [_bounded(name) for name in FAULTS])
def test_a_pipeline_lives_through(fault: str, shared: Rig, reference: Reference) -> None:
    live(shared, reference, FAULTS[fault])


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", LONG_FAULTS)
def test_a_pipeline_lives_through_a_long(fault: str, shared: Rig, reference: Reference) -> None:
    live(shared, reference, LONG_FAULTS[fault], only_edit=True)
