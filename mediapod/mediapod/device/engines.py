"""The engines of the device process: one for the frames of the pipeline, one for each other set of stages in use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mediapod.engine import Engine, StageSpec
from mediapod.engine.wire import Hello, WireStage

MOST_ENGINES = 16  # device memory is finite; a worker keeps at most eight

MakeEngine = Callable[[list[StageSpec]], Engine]


class TooManyEngines(RuntimeError):  # noqa: N818  says what is the case
    """Every engine is in use."""


@dataclass(slots=True)
class _Shared:
    engine: Engine
    users: int = 0


class Engines:
    """Lends engines to connections; equal stages share one. An engine that nobody uses is stopped."""

    def __init__(self, pipeline: Engine, make: MakeEngine) -> None:
        self._pipeline, self._make = pipeline, make
        self._shared: dict[str, _Shared] = {}
        self._starting = asyncio.Lock()

    async def lend(self, hello: Hello) -> Engine:
        """The engine for a connection. Raises InvalidStages, TooManyEngines."""
        if hello.stages is None:
            return self._pipeline
        async with self._starting:
            key = _key(hello.stages)
            if key not in self._shared:
                if len(self._shared) >= MOST_ENGINES:
                    raise TooManyEngines(f"{MOST_ENGINES} different effects are in use on the device already")
                engine = self._make([StageSpec(s.name, s.effect, s.parameters) for s in hello.stages])
                await engine.start()
                self._shared[key] = _Shared(engine)
            self._shared[key].users += 1
            return self._shared[key].engine

    async def give_back(self, hello: Hello) -> None:
        """The connection is over."""
        if hello.stages is None:
            return
        async with self._starting:
            shared = self._shared[_key(hello.stages)]
            shared.users -= 1
            if not shared.users:
                del self._shared[_key(hello.stages)]
                await shared.engine.stop()


def _key(stages: list[WireStage]) -> str:
    return "".join(stage.model_dump_json() for stage in stages)
