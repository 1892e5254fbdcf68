"""Probes: alive, started, ready. Answered on both ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from mediapod.observability.metrics import Metrics


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """Where effects run. torch: its version, None if absent."""

    device: str
    simulated: bool
    torch: str | None
    cuda: bool


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


def health_router(condition: Condition, metrics: Metrics) -> APIRouter:
    """/healthz, /startupz, /readyz and /metrics."""
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
        content, media_type = metrics.exposition()
        return Response(content, headers={"content-type": media_type})

    return router


def _answer(reasons: list[str], more: dict[str, object] | None = None) -> JSONResponse:
    body = {"status": "unavailable" if reasons else "ok", "reasons": reasons, **(more or {})}
    return JSONResponse(body, 503 if reasons else 200)
