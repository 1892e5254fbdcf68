"""The scaling tick: one batch for all that are known, an early one for those that come later."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling.model import Signals
from mediapipeline_operator.runtime import scaler as scaling
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.runtime.scaler import Scaler
from mediapipeline_operator.shell.clock import Clock

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
        async with asyncio.timeout(10):
            while len(reader.batches) < 2:  # noqa: ASYNC110  the reader has no event
                await asyncio.sleep(0.01)
        assert reader.batches[1] == ["one", "other", "late"]
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
