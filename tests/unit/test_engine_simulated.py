"""The simulated device: serial, capacity 1 / service time, a bounded queue. All in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import random
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediapod.engine.interface import DeadlineExceeded, EffectError, Processed
from mediapod.engine.simulated import SerialSlots, SimulatedEngine
from mediapod.engine.stages import grey_frame
from mediapod.frames.i420 import I420Frame

T = TypeVar("T")
FRAME = grey_frame(8, 8)


class VirtualSelector(selectors.SelectSelector):
    """Lets time pass instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits for something that no timer will bring"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self.clock = VirtualSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def in_virtual_time(main: Callable[[VirtualLoop], Awaitable[T]]) -> T:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


class Inverting:
    """Does the real work at once: inverts the luma; fails where asked to."""

    device = "cpu"

    def __init__(self, seconds: float = 0.0, failure: Exception | None = None) -> None:
        self.seconds = seconds
        self.failure = failure

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def process(self, frame: I420Frame, deadline: float) -> Processed:
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return Processed(I420Frame(y=255 - frame.y, u=frame.u, v=frame.v), "cpu", self.seconds, 0.0)

    def busy_seconds(self) -> dict[str, float]:
        return {"cpu": 0.0}


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Poisson arrivals: the hardest case, sessions with no common rhythm."""
    source, now, times = random.Random(seed), 0.0, []  # noqa: S311  a repeatable load, not a secret
    while (now := now + source.expovariate(rate)) < seconds:
        times.append(now)
    return times


def offered(rate: float, service: float, budget: float, seconds: float, seed: int):
    """Offer frames at `rate` and return (end time, result) of each, in order of arrival, and the engine."""

    async def main(loop: VirtualLoop):
        engine = SimulatedEngine(Inverting(), service, clock=loop.time)

        async def one(at: float):
            await asyncio.sleep(at)
            try:
                result = await engine.process(FRAME, loop.time() + budget)
            except DeadlineExceeded as refusal:
                result = refusal
            return at, loop.time(), result

        ends = await asyncio.gather(*(one(at) for at in arrivals(rate, seconds, seed)))
        return ends, engine.busy_seconds()["cuda-simulated"], loop.time()

    return in_virtual_time(main)


@pytest.mark.parametrize("load", [1.2, 2.0, 5.0])
def test_under_overload_the_device_delivers_its_capacity_and_all_of_it_in_time(load: float) -> None:
    service, seconds = 0.004, 20.0
    ends, busy, until = offered(load / service, service, 0.1, seconds, seed=7)
    done = [end for end in ends if isinstance(end[2], Processed)]
    assert len(done) / until == pytest.approx(1 / service, rel=0.01)
    assert busy == pytest.approx(until, rel=0.01)
    assert all(end - at <= 0.1 + 1e-9 for at, end, _ in done)
    # A refusal costs nobody time: it comes at the moment of arrival.
    assert all(end == at for at, end, result in ends if isinstance(result, DeadlineExceeded))


def test_below_capacity_every_frame_is_done() -> None:
    ends, busy, until = offered(0.5 / 0.004, 0.004, 0.1, 20.0, seed=3)
    assert all(isinstance(result, Processed) for _, _, result in ends)
    assert busy == pytest.approx(0.004 * len(ends))
    assert busy < 0.6 * until


def test_frames_are_served_in_the_order_of_arrival_one_at_a_time() -> None:
    ends, _, _ = offered(2.0 / 0.004, 0.004, 0.05, 5.0, seed=11)
    finished = [end for _, end, result in ends if isinstance(result, Processed)]
    assert finished == sorted(finished)
    gaps = [later - earlier for earlier, later in itertools.pairwise(finished)]
    assert min(gaps) >= 0.004 - 1e-9


def test_late_timers_cost_no_capacity() -> None:
    """Each wake-up comes 1 ms late, a quarter of the service time; the slots still follow each other closely."""

    async def main(loop: VirtualLoop) -> float:
        async def late_sleep(seconds: float) -> None:
            await asyncio.sleep(seconds + 0.001)

        engine = SimulatedEngine(Inverting(), 0.004, clock=loop.time, sleep=late_sleep)

        async def session(count: int) -> None:
            for _ in range(count):
                await engine.process(FRAME, loop.time() + 1.0)

        await asyncio.gather(*(session(100) for _ in range(4)))
        return loop.time()

    assert in_virtual_time(main) == pytest.approx(400 * 0.004, abs=0.002)


def test_the_picture_is_really_changed_and_says_where() -> None:
    async def main(loop: VirtualLoop) -> Processed:
        engine = SimulatedEngine(Inverting(seconds=0.001), 0.01, clock=loop.time)
        await engine.process(FRAME, 1.0)
        first_end = loop.time()
        assert first_end == pytest.approx(0.01)
        two = await asyncio.gather(engine.process(FRAME, 1.0), engine.process(FRAME, 1.0))
        return two[1]

    done = in_virtual_time(main)
    assert (np.asarray(done.frame.y) == 127).all()
    assert done.device == "cuda-simulated"
    assert done.effect_seconds == pytest.approx(0.01)
    assert done.queue_seconds == pytest.approx(0.01)


def test_a_slow_cpu_shows_and_a_failing_effect_stays_one_frames_failure() -> None:
    async def main(loop: VirtualLoop) -> None:
        inner = Inverting(seconds=0.05)
        engine = SimulatedEngine(inner, 0.01, clock=loop.time)
        done = await engine.process(FRAME, 1.0)
        assert loop.time() == pytest.approx(0.05)
        assert done.effect_seconds == pytest.approx(0.05)
        inner.failure = EffectError("soften", "GaussianBlur", "broken")
        with pytest.raises(EffectError):
            await engine.process(FRAME, 1.0)
        inner.failure = None
        await engine.process(FRAME, 1.0)

    in_virtual_time(main)


@given(st.lists(st.tuples(st.floats(0, 0.05), st.floats(-0.01, 0.2)), max_size=60), st.floats(0.001, 0.05))
def test_slots_never_overlap_and_never_end_late(steps: list[tuple[float, float]], service: float) -> None:
    slots, now, last_end, reserved, last_busy = SerialSlots(service), 0.0, 0.0, 0, 0.0
    for pause, budget in steps:
        now += pause
        try:
            start, end = slots.reserve(now, now + budget)
        except DeadlineExceeded:
            assert max(now, last_end) + service > now + budget
        else:
            assert start >= max(now, last_end) - 1e-12
            assert end <= now + budget
            last_end, reserved = end, reserved + 1
        busy = slots.busy_seconds(now)
        assert last_busy - 1e-9 <= busy <= min(now, reserved * service) + 1e-9
        last_busy = busy


@pytest.mark.parametrize("service", [0.0, -1.0, float("nan")])
def test_a_service_time_must_be_above_zero(service: float) -> None:
    with pytest.raises(ValueError, match="service_time_seconds"):
        SerialSlots(service)
