"""The work queue: one worker a key, no lost wake-ups, a back-off for each key alone."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.queue import PassIncompleteError, WorkQueue
from mediapipeline_operator.shell.clock import Clock
from unit.stopwatch import Stopwatch

ONE, OTHER = Key("a", "one"), Key("a", "other")
ROUTINE = 10.0
Work = Callable[[Key], Awaitable[float | None]]


class Start(Protocol):
    def __call__(self, work: Work, workers: int = 3) -> WorkQueue: ...


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def start(metrics: Metrics) -> AsyncIterator[Start]:
    tasks: list[asyncio.Task[None]] = []

    def begin(work: Work, workers: int = 3) -> WorkQueue:
        queue = WorkQueue(work, workers, Clock(), metrics)
        tasks.append(asyncio.create_task(queue.run()))
        return queue

    yield begin
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.005)


async def test_the_depth_tells_who_waits_also_when_nobody_does_any_more(start: Start, metrics: Metrics) -> None:
    release, begun = asyncio.Event(), 0

    async def work(key: Key) -> None:
        nonlocal begun
        begun += 1
        await release.wait()

    def depth() -> float:
        (family,) = metrics.queue_depth.collect()
        return family.samples[0].value

    queue = start(work, workers=1)
    queue.add(ONE)
    await _until(lambda: begun == 1)
    queue.add(OTHER)
    await _until(lambda: depth() == 1)
    release.set()
    await _until(lambda: begun == len((ONE, OTHER)))
    assert depth() == 0


async def test_it_is_crowded_while_more_changes_wait_than_it_takes_at_a_time(start: Start) -> None:
    release, begun = asyncio.Event(), 0

    async def work(key: Key) -> None:
        nonlocal begun
        begun += 1
        await release.wait()

    queue = start(work, workers=1)
    queue.add(ONE)
    await _until(lambda: begun == 1)
    for number in range(3):
        queue.add(Key("routine", f"{number}"), yields_seconds=ROUTINE)
    queue.add(OTHER)
    await _until(lambda: queue.depth == 4)
    assert not queue.crowded
    queue.add(Key("routine", "0"))  # now it has a change too
    assert queue.crowded
    release.set()
    await _until(lambda: queue.depth == 0)
    assert not queue.crowded


async def test_a_key_is_never_in_two_workers_and_no_change_is_lost(start: Start) -> None:
    running, most, passes = 0, 0, 0
    release = asyncio.Event()

    async def work(key: Key) -> None:
        nonlocal running, most, passes
        running += 1
        most = max(most, running)
        passes += 1
        await release.wait()
        running -= 1

    queue = start(work)
    queue.add(ONE)
    await _until(lambda: running == 1)
    for _ in range(5):
        queue.add(ONE)
    release.set()
    await _until(lambda: passes == 2)
    await asyncio.sleep(0.1)
    assert (most, passes) == (1, 2)


async def test_keys_are_worked_on_side_by_side(start: Start) -> None:
    seen: set[Key] = set()
    both = asyncio.Event()

    async def work(key: Key) -> None:
        seen.add(key)
        if len(seen) == 2:
            both.set()
        await both.wait()

    queue = start(work)
    queue.add(ONE)
    queue.add(OTHER)
    await _until(both.is_set)


async def test_a_failing_key_is_repeated_and_does_not_hold_up_others(start: Start) -> None:
    tries: dict[Key, int] = {ONE: 0, OTHER: 0}

    async def work(key: Key) -> None:
        tries[key] += 1
        if key == ONE and tries[key] == 1:
            raise PassIncompleteError("not yet")
        if key == ONE and tries[key] == 2:
            raise ValueError("a bug")

    queue = start(work)
    queue.add(ONE)
    queue.add(OTHER)
    await _until(lambda: tries[ONE] == 3)
    assert tries[OTHER] == 1


async def test_a_pass_may_ask_to_come_again(start: Start) -> None:
    passes = 0

    async def work(key: Key) -> float | None:
        nonlocal passes
        passes += 1
        return 0.01 if passes < 3 else None

    start(work).add(ONE)
    await _until(lambda: passes == 3)
    await asyncio.sleep(0.1)
    assert passes == 3


async def _turns_of_others(start: Start, passes: int, pass_seconds: float) -> int:
    """How often everything else on the event loop has its turn during passes in a row that wait for nothing."""
    done = turns = 0

    async def work(key: Key) -> None:
        nonlocal done
        ends = time.monotonic() + pass_seconds
        while time.monotonic() < ends:
            pass
        done += 1

    queue = start(work)
    for number in range(passes):
        queue.add(Key("a", f"{number}"))
    async with asyncio.timeout(60):
        while done < passes:
            turns += 1
            await asyncio.sleep(0)
    return turns


async def test_long_rows_of_passes_let_everything_else_have_its_turn(start: Start) -> None:
    assert await _turns_of_others(start, passes=100, pass_seconds=0.001) >= 10


async def test_short_passes_share_a_turn_of_the_event_loop(start: Start) -> None:
    assert await _turns_of_others(start, passes=1000, pass_seconds=0) < 500


async def test_an_earlier_time_wins(start: Start) -> None:
    passes = 0

    async def work(key: Key) -> None:
        nonlocal passes
        passes += 1

    queue = start(work)
    queue.add(ONE, delay_seconds=60)
    queue.add(ONE)
    await _until(lambda: passes == 1)
    await asyncio.sleep(0.05)
    assert passes == 1


async def test_a_stuck_pass_is_seen(start: Start) -> None:
    async def work(key: Key) -> None:
        await asyncio.sleep(30)

    queue = start(work)
    assert queue.stuck_seconds() == 0
    queue.add(ONE)
    await _until(lambda: queue.stuck_seconds() > 0.05)


async def test_no_change_shortens_what_the_api_server_asked_for(start: Start) -> None:
    passes: list[float] = []
    loop = asyncio.get_running_loop()

    async def work(key: Key) -> None:
        passes.append(loop.time())
        if len(passes) == 1:
            raise PassIncompleteError("429", retry_after_seconds=0.5)

    queue = start(work)
    queue.add(ONE)
    await _until(lambda: len(passes) == 1)
    for _ in range(10):
        await asyncio.sleep(0.01)
        queue.add(ONE)  # watch events of children that were written before the refusal
    await _until(lambda: len(passes) == 2)
    assert passes[1] - passes[0] >= 0.5


async def _order(start: Start, fill: Callable[[WorkQueue], None], passes: int) -> list[str]:
    """Names in the order of their passes, by one worker that begins when `fill` has run and the first one is stuck."""
    order: list[str] = []
    filled = asyncio.Event()

    async def work(key: Key) -> None:
        await filled.wait()
        order.append(key.name)

    queue = start(work, workers=1)
    queue.add(Key("a", "stuck"))
    await _until(lambda: queue.stuck_seconds() > 0)
    fill(queue)
    await asyncio.sleep(0.02)  # all of them are handed over
    filled.set()
    await _until(lambda: len(order) == passes)
    await asyncio.sleep(0.02)
    return order[1:]


async def test_a_change_passes_by_thousands_of_routine_passes(start: Start) -> None:
    def fill(queue: WorkQueue) -> None:
        for number in range(5):
            queue.add(Key("a", f"routine-{number}"), yields_seconds=ROUTINE)
        queue.add(Key("a", "changed"))

    assert await _order(start, fill, 7) == ["changed", *(f"routine-{number}" for number in range(5))]


async def test_changes_that_wait_and_the_routine_share(metrics: Metrics) -> None:
    """A change that has come in the middle of what the routine yields to has half of it before, and half behind it."""
    names = sorted((f"routine-{number}" for number in range(100)), key=lambda name: Key("a", name).phase)
    clock, filled, order = Stopwatch(), asyncio.Event(), []

    async def work(key: Key) -> None:
        await filled.wait()
        order.append(key.name)

    queue = WorkQueue(work, 1, clock, metrics)
    running = asyncio.create_task(queue.run())
    try:
        queue.add(Key("a", "stuck"))
        await _until(lambda: "stuck" in {key.name for key in queue._running})
        for name in names:
            queue.add(Key("a", name), yields_seconds=10 * Key("a", name).phase)
        await _until(lambda: queue.depth == len(names))
        clock.seconds += 5
        queue.add(Key("a", "changed"))
        await _until(lambda: queue.depth > len(names))
        filled.set()
        await _until(lambda: len(order) == len(names) + 2)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert 30 < order.index("changed") < 70
    assert order[1:] == sorted(order[1:], key=lambda name: 0.5 if name == "changed" else Key("a", name).phase)


async def test_a_change_advances_the_routine_pass_that_waits_and_adds_none(start: Start) -> None:
    def fill(queue: WorkQueue) -> None:
        for name in ("first", "second", "third"):
            queue.add(Key("a", name), yields_seconds=ROUTINE)
        asyncio.get_running_loop().call_later(0.005, queue.add, Key("a", "third"))

    assert await _order(start, fill, 4) == ["third", "first", "second"]


async def test_whoever_yields_least_of_those_who_ask_for_a_pass_decides_on_its_turn(start: Start) -> None:
    def fill(queue: WorkQueue) -> None:
        for yields in (30, 20, 40):
            queue.add(Key("a", "advanced"), yields_seconds=yields)
        queue.add(Key("a", "between"), yields_seconds=25)
        queue.add(Key("a", "first"), yields_seconds=15)
        asyncio.get_running_loop().call_later(0.005, lambda: queue.add(Key("a", "advanced"), yields_seconds=10))

    assert await _order(start, fill, 4) == ["advanced", "first", "between"]


async def test_routine_does_not_set_a_change_back(start: Start) -> None:
    def fill(queue: WorkQueue) -> None:
        queue.add(Key("a", "routine"), yields_seconds=ROUTINE)
        queue.add(Key("a", "changed"))
        queue.add(Key("a", "changed"), yields_seconds=ROUTINE)

    assert await _order(start, fill, 3) == ["changed", "routine"]


async def test_routine_is_not_put_off_for_ever(start: Start) -> None:
    def fill(queue: WorkQueue) -> None:
        queue.add(Key("a", "routine"), yields_seconds=0.005)
        asyncio.get_running_loop().call_later(0.015, queue.add, Key("a", "changed"))

    assert await _order(start, fill, 3) == ["routine", "changed"]


async def test_the_tick_brings_a_pass_forward_that_waits_for_it_and_it_stays_routine(start: Start) -> None:
    def fill(queue: WorkQueue) -> None:
        queue.add(Key("a", "listed"), delay_seconds=60, yields_seconds=ROUTINE)
        assert queue.depth == 0
        queue.add(Key("a", "listed"), yields_seconds=ROUTINE)
        queue.add(Key("a", "changed"))

    assert await _order(start, fill, 3) == ["changed", "listed"]
