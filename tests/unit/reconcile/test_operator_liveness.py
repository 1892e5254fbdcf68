"""/healthz: what it tells of progress, and when it fails."""

import asyncio

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from mediapipeline_operator.runtime.health import HealthServer
from mediapipeline_operator.runtime.leading import Progress
from mediapipeline_operator.runtime.liveness import LoopLag, not_moving
from mediapipeline_operator.shell.clock import Clock

WELL = Progress(pipelines=3, queue_depth=1, slowest_seconds=0.4, since_tick_seconds=9.0)


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (WELL, None),
        (Progress(0, 0, 0.0, None), None),  # a new leader, before its first tick
        (Progress(1, 0, 121.0, 3.0), "waited for, for 121 s"),
        (Progress(1, 0, 0.0, 131.0), "scaling has not looked at the pipelines for 131 s; it does so every 10 s"),
    ],
)
def test_what_stands_still_is_told(progress: Progress, words: str | None) -> None:
    found = not_moving(progress, tick_seconds=10)
    assert found == [] if words is None else words in found[0]


async def test_the_lag_of_the_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediapipeline_operator.runtime.liveness.BEAT_SECONDS", 0.01)
    async with LoopLag(Clock()) as lag:
        await asyncio.sleep(0.02)
        clock = Clock()
        until = clock.monotonic() + 0.3
        while clock.monotonic() < until:
            pass
        await asyncio.sleep(0.002)
        assert lag.seconds > 0.2


async def test_the_answer_holds_the_progress() -> None:
    facts = {"leader": True, "progress": {"queue_depth": 1}}
    server = HealthServer(lambda: ["stuck"], list, lambda: facts, CollectorRegistry())
    await server.start("127.0.0.1", 0)
    try:
        assert server._runner is not None
        port = server._runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            async with http.get("/healthz") as answer:
                assert answer.status == 503
                assert await answer.json() == {"status": "unavailable", "reasons": ["stuck"], **facts}
            async with http.get("/readyz") as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "ok", "reasons": []})
    finally:
        await server.close()
