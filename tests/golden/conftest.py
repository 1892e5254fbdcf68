"""The golden cases: a folder each, with the pipeline that a user writes and the manifests that come of it."""

from pathlib import Path

import pytest

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/pipeline.yaml"))


@pytest.fixture(params=CASES, ids=lambda path: path.name)
def case(request: pytest.FixtureRequest) -> Path:
    """One folder of tests/golden."""
    path: Path = request.param
    return path
