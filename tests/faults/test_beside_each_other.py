"""Scenarios with operators of their own, which run at the same time as those of the shared one."""

from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    "aside",
    [
        pytest.param("killed_again_and_again", id="killed_again_and_again_with_three_writes_in_between"),
        pytest.param("late_write", id="a_late_write_of_a_former_leader_fails"),
        pytest.param("half_of_the_pods", id="no_replica_is_removed_while_prometheus_tells_of_half_the_pods"),
    ],
)
def test_on_its_own(aside: str, beside: Callable[[str], None]) -> None:
    beside(aside)
