"""Prometheus down, slow, empty, wrong: the number of replicas is held, and never lowered for lack of data."""

import pytest

from faults.fake_prometheus import MODES
from faults.metric_faults import prometheus_fails
from faults.rig import Rig


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_replica_is_removed_for_any_trouble_of_prometheus(rig: Rig) -> None:
    prometheus_fails(rig, MODES)
