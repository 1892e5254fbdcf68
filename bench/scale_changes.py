"""Changes at a steady rate, and how long each takes until it shows in a child."""

from __future__ import annotations

import asyncio
import random
import statistics
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress

from scale_rig import NAMESPACE, Rig
from scale_subjects import until

from mediapipeline_operator.shell.cluster.errors import ClusterError

_SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
_STAMP = "bench.example.org/stamp"
_LAST_SECONDS = 60.0  # for the last change to show
_WATCH_SECONDS = 300.0


class Changes:
    """An annotation of the Service is changed in the specs of `count` pipelines, in each once.

    `taken` has the seconds of each that has shown, from the API server's answer to the change until a watch of Services
    tells it.
    """

    def __init__(self, rig: Rig, seconds: float, per_second: int) -> None:
        self._rig = rig
        self._per_second = per_second
        self._run = uuid.uuid4().hex[:8]
        self._answered: dict[str, float] = {}
        self.count = min(rig.size, int(per_second * seconds))
        self.taken: list[float] = []

    @property
    def stuck(self) -> int:
        """Changes that have not shown: what is not applied has no latency."""
        return self.count - len(self.taken)

    def median(self) -> float:
        """Of those that have shown."""
        return statistics.median(self.taken)

    def p99(self) -> float:
        """Of all."""
        return sorted(self.taken)[int(0.99 * (len(self.taken) - 1))]

    async def run(self) -> None:
        """Makes the changes, and waits for the last ones for a limited time."""
        since = await self._rig.transport.request("GET", _SERVICES, query={"limit": 1})
        watching = asyncio.create_task(self._watch(since["metadata"]["resourceVersion"]))
        try:
            await self._make()
            with suppress(TimeoutError):
                await until(self._all_shown, "all changes", _LAST_SECONDS, 0.2)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError, ClusterError):
                await watching

    async def _all_shown(self) -> bool:
        return not self.stuck

    async def _watch(self, version: str) -> None:
        loop = asyncio.get_running_loop()
        query = {"watch": "true", "resourceVersion": version}
        async for event in self._rig.transport.lines(_SERVICES, query, silence_seconds=_WATCH_SECONDS):
            stamp = (event["object"]["metadata"].get("annotations") or {}).get(_STAMP, "")
            if stamp in self._answered:
                self.taken.append(max(0.0, loop.time() - self._answered.pop(stamp)))

    async def _make(self) -> None:
        await _at_a_rate(self._per_second, self._change, random.Random(1).sample(range(self._rig.size), k=self.count))

    async def _change(self, index: int, number: int) -> None:
        loop, stamp = asyncio.get_running_loop(), f"{self._run}-{index}"
        self._answered[stamp] = loop.time() + _WATCH_SECONDS  # until the answer is there
        with suppress(ClusterError):  # a change that is refused is one that does not show
            await self._rig.cluster.change(number, {"networking": {"service": {"annotations": {_STAMP: stamp}}}})
        if stamp in self._answered:
            self._answered[stamp] = loop.time()


async def _at_a_rate(per_second: int, work: Callable[[int, int], Awaitable[None]], numbers: list[int]) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.TaskGroup() as group:
        for index, number in enumerate(numbers):
            await asyncio.sleep(max(0.0, started + index / per_second - loop.time()))
            group.create_task(work(index, number))
