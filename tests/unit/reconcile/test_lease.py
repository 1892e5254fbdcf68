"""The Lease: one holder, no write after its time, take-over only after a full silence."""

import asyncio
import contextlib
from typing import Any

import pytest

from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.errors import ConflictError, NotFoundError, UnreachableError
from mediapipeline_operator.shell.lease import Lease, LeaseSettings
from unit.stopwatch import Stopwatch


class Api:
    """The API server's part: versions, conflicts, and a cable that can be pulled."""

    request_timeout_seconds = 3.0

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}
        self.version = 0
        self.cut: set[str] = set()

    def transport_of(self, identity: str) -> Any:
        outer = self

        class Transport:
            request_timeout_seconds = outer.request_timeout_seconds

            async def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
                return outer.answer(identity, method, body)

        return Transport()

    def answer(self, identity: str, method: str, body: Any) -> dict[str, Any]:
        if identity in self.cut:
            raise UnreachableError("cable pulled")
        if method == "GET":
            if not self.stored:
                raise NotFoundError(404, "NotFound", "none")
            return self.stored
        if body["metadata"].get("resourceVersion", "") != (str(self.version) if self.stored else ""):
            raise ConflictError(409, "Conflict", "changed")
        self.version += 1
        self.stored = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.stored


@pytest.fixture
def clock() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def api() -> Api:
    return Api()


def _lease(api: Api, clock: Clock, identity: str) -> Lease:
    settings = LeaseSettings("ns", "lease", identity, duration_seconds=12.0, renew_seconds=0.0, retry_seconds=0.001)
    return Lease(api.transport_of(identity), settings, clock)


async def _leads_soon(lease: Lease) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await lease.acquire()
    except TimeoutError:
        return False
    return True


async def test_the_first_leads_and_the_second_waits(api: Api, clock: Stopwatch) -> None:
    first, second = _lease(api, clock, "first"), _lease(api, clock, "second")
    assert await _leads_soon(first)
    assert not await _leads_soon(second)
    assert (first.held, second.held) == (True, False)


async def test_a_silent_leader_stops_writing_before_anybody_takes_over(api: Api, clock: Stopwatch) -> None:
    first, second = _lease(api, clock, "first"), _lease(api, clock, "second")
    await first.acquire()
    await _leads_soon(second)  # has seen the record
    clock.seconds += 9.0  # lease duration - request time-out
    assert not first.held
    assert not await _leads_soon(second)
    clock.seconds += 3.1
    assert await _leads_soon(second)
    assert not first.held


async def test_a_record_that_moves_is_not_taken_over_whatever_its_clock_says(api: Api, clock: Stopwatch) -> None:
    first, second = _lease(api, clock, "first"), _lease(api, clock, "second")
    await first.acquire()
    await _leads_soon(second)
    for _ in range(3):
        clock.seconds += 10.0
        api.stored["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
        assert await first._attempt()
        assert not await _leads_soon(second)


async def test_a_released_lease_is_free_at_once(api: Api, clock: Stopwatch) -> None:
    first, second = _lease(api, clock, "first"), _lease(api, clock, "second")
    await first.acquire()
    await first.release()
    assert not first.held
    assert await _leads_soon(second)


async def test_a_lease_whose_last_renewal_was_cut_short_is_released_all_the_same(api: Api, clock: Stopwatch) -> None:
    first, second = _lease(api, clock, "first"), _lease(api, clock, "second")
    await first.acquire()
    api.answer("first", "PUT", api.stored)  # carried out, and nobody waited for the answer
    await first.release()
    assert await _leads_soon(second)


async def test_nobody_releases_what_another_has_taken(api: Api, clock: Stopwatch) -> None:
    first, second = _lease(api, clock, "first"), _lease(api, clock, "second")
    await first.acquire()
    await _leads_soon(second)
    clock.seconds += 12.1
    assert await _leads_soon(second)
    await first.release()
    assert api.stored["spec"]["holderIdentity"] == "second"


async def test_a_leader_survives_trouble_shorter_than_the_lease(api: Api, clock: Stopwatch) -> None:
    lease = _lease(api, clock, "first")
    await lease.acquire()
    renewing = asyncio.create_task(lease.renew_until_lost())
    api.cut.add("first")
    clock.seconds += 11.0
    await asyncio.sleep(0.02)
    assert not renewing.done()
    api.cut.clear()
    await asyncio.sleep(0.02)
    assert lease.held
    renewing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await renewing


async def test_a_leader_that_was_overtaken_knows_it(api: Api, clock: Stopwatch) -> None:
    first, second = _lease(api, clock, "first"), _lease(api, clock, "second")
    await first.acquire()
    await _leads_soon(second)
    clock.seconds += 12.1
    assert await _leads_soon(second)
    async with asyncio.timeout(60):
        await first.renew_until_lost()
    assert not first.held
