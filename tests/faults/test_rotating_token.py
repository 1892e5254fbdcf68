"""The token of the operator's service account rotates while it works."""

import pytest

from faults import token_faults
from faults.life import Reference
from faults.rig import Rig


@pytest.mark.soak
def test_a_token_rotates_in_time_and_then_too_late(rig: Rig, reference: Reference) -> None:
    token_faults.rotated_token(rig, reference)
