"""Probes: alive, started, ready. Answered on both ports."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

SIMULATED = "cuda-simulated"

Exposition = Callable[[], Awaitable[tuple[bytes, str]]]


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """Where effects run. torch: its version, None if absent."""

    device: str
    simulated: bool
    torch: str | None
    cuda: bool


def report_of(device: str) -> DeviceReport:
    """What /healthz says about a device."""
    return DeviceReport(device, device == SIMULATED, _torch_version(), device == "cuda")


@cache
def _torch_version() -> str | None:
    """Looked up once: that reads files, for a millisecond, and probes come every few seconds."""
    return importlib.metadata.version("torch") if importlib.util.find_spec("torch") else None


class Condition(Protocol):
    """What the probes ask. Each list is empty when all is well, else it holds the reasons."""

    def not_alive(self) -> list[str]:
        """Why the process should be restarted."""

    def not_started(self) -> list[str]:
        """Why the process is not warmed up."""

    def not_ready(self) -> list[str]:
        """Why no new sessions should come. Being full is no such reason: a full pod says 503 itself."""

    def device(self) -> DeviceReport:
        """Where effects run."""


def health_router(condition: Condition, exposition: Exposition) -> APIRouter:
    """/healthz, /startupz, /readyz and /metrics. exposition: Prometheus' text format, and its content type."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> JSONResponse:
        report = condition.device()
        more = {"device": report.device, "simulated": report.simulated, "torch": report.torch, "cuda": report.cuda}
        return _answer(condition.not_alive(), more)

    @router.get("/startupz")
    async def startupz() -> JSONResponse:
        return _answer(condition.not_started())

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        return _answer(condition.not_ready())

    @router.get("/metrics")
    async def prometheus() -> Response:
        content, media_type = await exposition()
        return Response(content, headers={"content-type": media_type})

    return router


def _answer(reasons: list[str], more: dict[str, object] | None = None) -> JSONResponse:
    body = {"status": "unavailable" if reasons else "ok", "reasons": reasons, **(more or {})}
    return JSONResponse(body, 503 if reasons else 200)
