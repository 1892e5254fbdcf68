"""When sessions are ended because a timer has run out or a peer is silent."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mediapod.session import registry
from mediapod.session.registry import SessionRegistry
from mediapod.session.session import Session


class Pod:
    """A registry with one session, on a clock that jumps when the pod did not run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, naps: list[float]) -> None:
        self.now, self.checked = 100.0, []
        self._naps = naps
        nobody: Any = None
        self._registry = SessionRegistry(nobody, nobody, nobody, nobody)
        session = SimpleNamespace(check_timers=self.checked.append)
        self._registry._sessions["one"] = cast(Session, session)
        monkeypatch.setattr(registry, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(registry, "asyncio", SimpleNamespace(sleep=self._sleep))

    async def _sleep(self, seconds: float) -> None:
        if not self._naps:
            raise asyncio.CancelledError
        self.now += self._naps.pop(0)

    async def looks(self) -> list[float]:
        """When the timers of the session were looked at."""
        with pytest.raises(asyncio.CancelledError):
            await self._registry.watch_timers()
        return self.checked


async def test_timers_are_looked_at_after_each_nap(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await Pod(monkeypatch, [0.25, 0.5, 0.25]).looks() == [100.25, 100.75, 101.0]


async def test_after_a_time_in_which_the_pod_did_not_run_what_came_meanwhile_is_read_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await Pod(monkeypatch, [0.25, 10, 0.25]).looks() == [100.25, 110.5]


async def test_a_pod_that_is_always_late_ends_sessions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await Pod(monkeypatch, [2, 2, 2, 2]).looks() == [104, 108]
