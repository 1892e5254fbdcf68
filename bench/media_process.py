"""Requests to POST /process: how many a second a core answers, and how long they take."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import cv2
import numpy as np
from media_servers import Server

from devcluster.load.statistics import percentile

WARM_UP_REQUESTS = 5


@dataclass(frozen=True)
class Request:
    """One kind of request. at_once: how many are under way at a time."""

    name: str
    query: Mapping[str, str]
    body: bytes
    headers: Mapping[str, str]
    at_once: int = 8


@dataclass
class Answers:
    """How long the answers took, in milliseconds, and over how many seconds they came."""

    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def a_second(self) -> float:
        """Answers a second."""
        return len(self.milliseconds) / self.seconds

    @property
    def p95(self) -> float:
        """p95 in milliseconds."""
        return percentile(self.milliseconds, 0.95) or float("inf")


def picture_request(width: int, height: int) -> Request:
    """A JPEG through GaussianBlur."""
    random = np.random.default_rng(5)
    small = random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    _, jpeg = cv2.imencode(".jpg", cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
    query = {"effect": "GaussianBlur", "radius": "7"}
    return Request(f"JPEG {width}x{height}, GaussianBlur", query, jpeg.tobytes(), {"Content-Type": "image/jpeg"})


def reference_request() -> Request:
    """The reference workload as the documents with its clients post it, one after the other."""
    body = json.dumps({"pixels": "1920x1080", "iters": 10}).encode()
    return Request("1920x1080, 10 iterations", {}, body, {"Content-Type": "application/json"}, at_once=1)


async def measure_process(server: Server, request: Request, seconds: float) -> Answers:
    """Post for `seconds`. Raises RuntimeError for an answer other than 200."""
    answers = Answers()
    async with aiohttp.ClientSession(server.url) as http:
        for _ in range(WARM_UP_REQUESTS):
            await _post(http, request)
        began = time.monotonic()

        async def again_and_again() -> None:
            while time.monotonic() - began < seconds:
                answers.milliseconds.append(await _post(http, request))

        await asyncio.gather(*(again_and_again() for _ in range(request.at_once)))
        answers.seconds = time.monotonic() - began
    return answers


async def _post(http: aiohttp.ClientSession, request: Request) -> float:
    """Milliseconds of one request."""
    start = time.monotonic()
    options: dict[str, Any] = {
        "params": dict(request.query),
        "data": request.body or None,
        "headers": dict(request.headers),
    }
    async with http.post("/process", timeout=aiohttp.ClientTimeout(total=30), **options) as answer:
        content = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"/process answered {answer.status}: {content[:200]!r}")
    return 1000 * (time.monotonic() - start)
