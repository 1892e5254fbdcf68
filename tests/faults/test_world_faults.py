"""What people, controllers and other software do around a pipeline: it ends as designed, others' objects stay."""

from collections.abc import Callable

import httpx
import pytest

from faults import world_faults
from faults.life import Reference
from faults.rig import Rig

BOUNDED = ("edited_by_hand", "deleted_in_a_gap", "replaced_before_the_delete")


def _bounded(name: str) -> object:
    return name if name in BOUNDED else pytest.param(name, marks=pytest.mark.soak)


@pytest.mark.parametrize("scenario", [_bounded(name) for name in world_faults.SCENARIOS])
def test_a_pipeline_stands(scenario: str, shared: Rig, reference: Reference) -> None:
    world_faults.SCENARIOS[scenario](shared, reference)


@pytest.mark.soak
def test_a_namespace_that_ends_is_left_in_peace(make_rig: Callable[..., Rig], reference: Reference) -> None:
    rig = make_rig(flags=("--lease-namespace=default", "--lease-name=faults-terminating"))
    rig.start()
    world_faults.namespace_terminating(rig, reference)


@pytest.mark.soak
def test_the_kind_is_removed_and_comes_back(
    rig: Rig, reference: Reference, crd: Callable[[httpx.Client], None]
) -> None:
    rig.start()
    world_faults.crd_comes_and_goes(rig, reference, lambda: crd(rig.world.api))
