"""The CPU engine: deadlines before work, isolation of failures, bounded waiting. The clock is a number we set."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from mediapod.effects import Effect, Parameters
from mediapod.engine import DeadlineExceeded, EffectError, Engine, StageSpec, build_engine
from mediapod.engine import cpu as cpu_module
from mediapod.engine.cpu import CpuEngine, default_workers
from mediapod.engine.stages import Stage, grey_frame
from mediapod.frames.i420 import I420Frame

FRAME = grey_frame(8, 8)
WAIT_SECONDS = 120


class ManualClock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Scripted(Effect[Parameters]):
    """Runs what the test gives it, except on the warm-up frame."""

    name = "Scripted"
    Parameters = Parameters

    def __init__(self, script: Callable[[], None]) -> None:
        super().__init__(Parameters())
        self.script = script
        self.calls = 0

    def cpu(self, frame: I420Frame) -> I420Frame:
        if frame.width != 64:
            self.calls += 1
            self.script()
        return frame

    def torch(self, batch):
        return batch


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def engine_of(clock: ManualClock) -> AsyncIterator[Callable[..., CpuEngine]]:
    started: list[CpuEngine] = []

    async def make(script: Callable[[], None], workers: int = 1) -> CpuEngine:
        engine = CpuEngine([Stage("only", Scripted(script))], workers, clock)
        await engine.start()
        started.append(engine)
        return engine

    yield make
    for engine in started:
        await engine.stop()


def effect_of(engine: CpuEngine) -> Scripted:
    return engine._stages[0].effect


async def test_a_frame_whose_deadline_passes_in_the_queue_is_not_worked_on(engine_of, clock: ManualClock) -> None:
    begun, go = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        assert go.wait(WAIT_SECONDS)

    engine = await engine_of(block)
    first = asyncio.create_task(engine.process(FRAME, clock.now + 10))
    second = asyncio.create_task(engine.process(FRAME, clock.now + 1))
    await asyncio.to_thread(begun.wait, WAIT_SECONDS)
    clock.now += 2
    go.set()
    assert (await first).effect_seconds == 2
    with pytest.raises(DeadlineExceeded):
        await second
    assert effect_of(engine).calls == 1


async def test_a_foreseeable_miss_is_refused_at_once_but_not_for_ever(engine_of, clock: ManualClock) -> None:
    def take_time() -> None:
        clock.now += 0.05

    engine = await engine_of(take_time)
    await engine.process(FRAME, clock.now + 1)
    with pytest.raises(DeadlineExceeded):
        await engine.process(FRAME, clock.now + 0.03)
    assert effect_of(engine).calls == 1
    refused = 1
    while effect_of(engine).calls == 1:
        try:
            await engine.process(FRAME, clock.now + 0.03)
        except DeadlineExceeded:
            refused += 1
        assert refused < 20


async def test_a_slow_size_is_not_held_against_another(engine_of, clock: ManualClock) -> None:
    def take_time() -> None:
        clock.now += 0.05

    engine = await engine_of(take_time)
    await engine.process(grey_frame(16, 8), clock.now + 1)
    await engine.process(FRAME, clock.now + 0.03)
    assert effect_of(engine).calls == 2


async def test_the_queue_ahead_counts_towards_the_estimate(engine_of, clock: ManualClock) -> None:
    begun, go = threading.Event(), threading.Event()
    script: list[Callable[[], object]] = [lambda: setattr(clock, "now", clock.now + 0.05)]
    engine = await engine_of(lambda: script[0]())
    await engine.process(FRAME, clock.now + 1)
    script[0] = lambda: (begun.set(), go.wait(WAIT_SECONDS))
    first = asyncio.create_task(engine.process(FRAME, clock.now + 1))
    await asyncio.to_thread(begun.wait, WAIT_SECONDS)
    with pytest.raises(DeadlineExceeded):  # 50 ms for the one at work and 50 ms for itself
        await engine.process(FRAME, clock.now + 0.08)
    go.set()
    await first


async def test_a_failing_effect_fails_its_frame_alone(engine_of, clock: ManualClock) -> None:
    outcomes = iter([ValueError("bad picture"), None])

    def fail_once() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    engine = await engine_of(fail_once)
    with pytest.raises(EffectError, match="bad picture") as failure:
        await engine.process(FRAME, clock.now + 1)
    assert (failure.value.stage, failure.value.effect) == ("only", "Scripted")
    assert isinstance(failure.value.__cause__, ValueError)
    await engine.process(FRAME, clock.now + 1)


async def test_as_many_frames_at_a_time_as_there_are_workers(engine_of, clock: ManualClock) -> None:
    together = threading.Barrier(3, timeout=WAIT_SECONDS)
    engine = await engine_of(together.wait, workers=3)
    await asyncio.gather(*(engine.process(FRAME, clock.now + 1) for _ in range(3)))


async def test_busy_seconds_add_up_the_work(engine_of, clock: ManualClock) -> None:
    def take_time() -> None:
        clock.now += 0.5

    engine = await engine_of(take_time)
    for _ in range(3):
        await engine.process(FRAME, clock.now + 5)
        clock.now += 10
    assert engine.busy_seconds() == {"cpu": pytest.approx(1.5)}


async def test_the_queue_is_bounded_even_with_deadlines_far_away(
    engine_of, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_module, "QUEUE_LIMIT", 3)
    go = threading.Event()
    engine = await engine_of(lambda: go.wait(WAIT_SECONDS))
    tasks = [asyncio.create_task(engine.process(FRAME, clock.now + 1e6)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded, match="waiting already"):
        await tasks[3]
    go.set()
    await asyncio.gather(*tasks[:3])


async def test_a_stopped_engine_refuses(engine_of, clock: ManualClock) -> None:
    begun, go = threading.Event(), threading.Event()
    engine = await engine_of(lambda: (begun.set(), go.wait(WAIT_SECONDS)))
    at_work = asyncio.create_task(engine.process(FRAME, clock.now + 5))
    waiting = asyncio.create_task(engine.process(FRAME, clock.now + 5))
    await asyncio.to_thread(begun.wait, WAIT_SECONDS)
    await engine.stop()
    await engine.stop()
    go.set()
    await at_work
    with pytest.raises(DeadlineExceeded):
        await waiting
    with pytest.raises(DeadlineExceeded):
        await engine.process(FRAME, clock.now + 5)


@pytest.mark.parametrize("device", ["CPU", "Simulated"])
async def test_stages_run_in_order_on_the_built_engine(device: str) -> None:
    stages = [
        StageSpec("right", "Translate", {"x": 2, "fill": "#ffffff"}),
        StageSpec("dark", "ColorCorrection", {"brightness": -1}),
    ]
    engine: Engine = build_engine(stages, device, service_time_seconds=0.001)
    await engine.start()
    try:
        done = await engine.process(FRAME, float("inf"))
    finally:
        await engine.stop()
    assert (done.frame.y == 16).all()  # the white that came in is darkened as well
    assert done.device == {"CPU": "cpu", "Simulated": "cuda-simulated"}[device]


async def test_stages_that_change_nothing_cost_nothing() -> None:
    engine = build_engine([StageSpec("a", "Passthrough", {}), StageSpec("b", "ColorCorrection", {})], "CPU")
    await engine.start()
    done = await engine.process(FRAME, float("inf"))
    await engine.stop()
    assert done.frame is FRAME
    assert engine.busy_seconds() == {"cpu": 0.0}


def test_workers_come_from_the_environment_or_the_cpus_we_may_use() -> None:
    assert default_workers({"MEDIAPOD_WORKERS": "3"}) == 3
    assert default_workers({}) >= 1
    with pytest.raises(ValueError, match="MEDIAPOD_WORKERS is '0'"):
        default_workers({"MEDIAPOD_WORKERS": "0"})
