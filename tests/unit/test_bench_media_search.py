"""The media benchmark's search for the most sessions finds the limit, wherever it begins."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def media_load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    pytest.importorskip("aiortc")
    import media_load

    yield media_load
    for name in [name for name in sys.modules if name.startswith("media_")]:
        del sys.modules[name]


class FakeSessions:
    def __init__(self) -> None:
        self.count, self.tired, self.windows = 0, False, 0

    async def resize(self, count: int) -> None:
        self.count, self.tired = count, self.tired and count > 0


@pytest.mark.parametrize("guess", [1, 3, 9, 40])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, 8, 13, 14, 22, 39, 40, 55])
def test_the_search_finds_the_limit_within_a_few_windows(media_load, limit, guess):
    group = FakeSessions()

    async def measure(group: FakeSessions):
        group.windows += 1
        assert not group.tired, "sessions that failed are measured again in a smaller group"
        group.tired = group.count > limit
        passes = replace(media_load.worst(), frames_per_second=30.0, p95=10.0)
        return replace(media_load.worst() if group.tired else passes, sessions=group.count)

    best = asyncio.run(media_load.most_sessions(group, measure, guess))
    assert best.sessions == min(limit, media_load.MOST_SESSIONS)
    assert group.windows <= 15
    if guess <= limit <= guess + 2:
        assert group.windows <= 4
