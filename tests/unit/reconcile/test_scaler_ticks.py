"""The scaling tick: one batch for all that are known, an early one for those that come later."""

import asyncio
import contextlib
import gc
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling.model import Signals
from mediapipeline_operator.runtime import collecting
from mediapipeline_operator.runtime import scaler as scaling
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.runtime.scaler import Scaler
from mediapipeline_operator.shell.clock import Clock
from unit.stopwatch import Stopwatch

SPEC = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}]}}


class Reader:
    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def read(self, pipelines: Sequence[tuple[Key, MediaPipelineSpec]]) -> Mapping[Key, Signals]:
        self.batches.append([key.name for key, _ in pipelines])
        return {key: Signals(window_seconds=20) for key, _ in pipelines}


def _pipeline(name: str, **spec: Any) -> dict[str, Any]:
    meta = {"namespace": "n", "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"metadata": meta, "spec": SPEC | spec}


async def test_what_is_known_at_the_start_is_measured_once_and_what_comes_later_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scaling, "_GATHER_SECONDS", 0.01)
    reader, pipelines, enqueued = Reader(), Pipelines(), list[str]()
    scaler = Scaler(reader, pipelines, lambda key: enqueued.append(key.name), 60.0, Clock(), Metrics())
    for name in ("one", "other"):
        pipelines.put(_pipeline(name))
        scaler.notice(Key("n", name))
    running = asyncio.create_task(scaler.run())
    try:
        await asyncio.sleep(0.1)
        assert (reader.batches, enqueued) == ([["one", "other"]], ["one", "other"])
        pipelines.put(_pipeline("late"))
        scaler.notice(Key("n", "late"))
        async with asyncio.timeout(60):
            while len(reader.batches) < 2:  # noqa: ASYNC110  the reader has no event
                await asyncio.sleep(0.01)
        assert reader.batches[1] == ["one", "other", "late"]
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _ticks(metrics: Metrics) -> tuple[float, float]:
    """Number of ticks that have ended, and their seconds."""
    name = "mediapipeline_autoscaler_tick_seconds"
    count, total = metrics.registry.get_sample_value(f"{name}_count"), metrics.registry.get_sample_value(f"{name}_sum")
    assert count is not None
    assert total is not None
    return count, total


async def test_a_tick_that_takes_longer_than_its_period_is_counted_with_what_it_took() -> None:
    clock, metrics, pipelines = Stopwatch(), Metrics(), Pipelines()
    for name in ("one", "other"):
        pipelines.put(_pipeline(name))
    scaler = Scaler(Reader(), pipelines, lambda _: None, 10.0, clock, metrics)
    await scaler._tick()
    scaler.decided(Key("n", "one"))
    clock.seconds += 10
    await scaler._tick()
    assert _ticks(metrics) == (0, 0)
    clock.seconds += 4
    scaler.decided(Key("n", "other"))
    assert _ticks(metrics) == (1, 14)
    scaler.decided(Key("n", "one"))
    assert _ticks(metrics) == (2, 18)


async def test_ticks_that_wait_for_one_pipeline_do_not_pile_up() -> None:
    clock, metrics, pipelines = Stopwatch(), Metrics(), Pipelines()
    pipelines.put(_pipeline("stuck"))
    scaler = Scaler(Reader(), pipelines, lambda _: None, 10.0, clock, metrics)
    for _ in range(scaling._OPEN_TICKS + 3):
        await scaler._tick()
        clock.seconds += 10
    assert _ticks(metrics) == (3, 3 * 10 * scaling._OPEN_TICKS)
    scaler.decided(Key("n", "stuck"))
    assert _ticks(metrics)[0] == scaling._OPEN_TICKS + 3


class LookingReader(Reader):
    """Notes whether Python may look for reference cycles while measurements are read."""

    def __init__(self) -> None:
        super().__init__()
        self.collecting: list[bool] = []

    async def read(self, pipelines: Sequence[tuple[Key, MediaPipelineSpec]]) -> Mapping[Key, Signals]:
        self.collecting.append(gc.isenabled())
        return await super().read(pipelines)


async def test_reference_cycles_are_looked_for_after_a_tick_and_not_in_it() -> None:
    reader, pipelines = LookingReader(), Pipelines()
    pipelines.put(_pipeline("one"))
    scaler = Scaler(reader, pipelines, lambda _: None, 10.0, Clock(), Metrics())
    await scaler._tick()
    assert (reader.collecting, gc.isenabled()) == ([False], False)
    scaler.decided(Key("n", "one"))
    assert gc.isenabled()


async def test_a_tick_that_does_not_end_leaves_no_cycles_behind_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "LONGEST_SECONDS", 0.02)
    pipelines = Pipelines()
    pipelines.put(_pipeline("stuck"))
    scaler = Scaler(Reader(), pipelines, lambda _: None, 10.0, Clock(), Metrics())
    await scaler._tick()
    assert not gc.isenabled()
    async with asyncio.timeout(60):
        while not gc.isenabled():  # noqa: ASYNC110  Python has no event for it
            await asyncio.sleep(0.01)


async def test_the_end_of_a_term_does_not_leave_cycles_behind() -> None:
    pipelines = Pipelines()
    pipelines.put(_pipeline("one"))
    running = asyncio.create_task(Scaler(Reader(), pipelines, lambda _: None, 10.0, Clock(), Metrics()).run())
    while gc.isenabled():  # noqa: ASYNC110  Python has no event for it
        await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert gc.isenabled()
