"""The front's two applications: the paths of the mediapod of one process, answered by its workers."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from mediapod.api.cors import allow_origins
from mediapod.api.health import Condition, health_router
from mediapod.api.meter import RequestMeter
from mediapod.api.problems import answer_with_problems
from mediapod.front.census import sessions_of, status_of
from mediapod.front.desk import Desk
from mediapod.placement.board import slots_of
from mediapod.placement.forwarding import PREFIX


def user_app(desk: Desk, condition: Condition, allowed_origins: Sequence[str]) -> FastAPI:
    """The application for users."""
    app = _app("mediapod")
    app.include_router(_signalling_router(desk, here_only=False))
    app.include_router(health_router(condition, desk.crew.exposition))
    app.include_router(_anywhere_router(desk))
    allow_origins(app, allowed_origins)
    app.add_middleware(RequestMeter, metrics=desk.metrics)
    return app


def admin_app(desk: Desk, condition: Condition) -> FastAPI:
    """The application for the operator, probes, Prometheus, and the pipeline's other pods."""
    app = _app("mediapod admin")
    app.include_router(_admin_router(desk))
    app.include_router(health_router(condition, desk.crew.exposition))
    app.include_router(_signalling_router(desk, here_only=True), prefix=PREFIX)
    return app


def _app(title: str) -> FastAPI:
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    answer_with_problems(app)
    return app


def _signalling_router(desk: Desk, *, here_only: bool) -> APIRouter:
    router = APIRouter()

    @router.post("/webrtc/offer")
    @router.post("/whip")
    async def offer(request: Request) -> Response:
        return await desk.offer(request, here_only=here_only)

    @router.post("/whep/{stream}")
    async def play(request: Request, stream: str) -> Response:
        return await desk.offer(request, stream, here_only=here_only)

    @router.patch("/session/{token}")
    @router.delete("/session/{token}")
    async def of_session(request: Request, token: str) -> Response:
        return await desk.of_session(request, token, here_only=here_only)

    return router


def _anywhere_router(desk: Desk) -> APIRouter:
    """What any worker can answer, and what needs all of them."""
    router = APIRouter()

    @router.get("/webrtc/status")
    async def status() -> dict[str, object]:
        return await status_of(desk.crew, draining=desk.draining)

    @router.post("/toggle-gpu-simulation")
    async def toggle(request: Request) -> Response:
        answer = await desk.anywhere(request)
        if answer.status_code == 200:
            desk.crew.simulate(json.loads(bytes(answer.body))["gpu_simulation"])
        return answer

    @router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
    async def anywhere(request: Request) -> Response:
        return await desk.anywhere(request)

    return router


def _admin_router(desk: Desk) -> APIRouter:
    """See mediapod.api.admin."""
    router = APIRouter()

    @router.get("/sessions")
    async def sessions() -> dict[str, object]:
        return await sessions_of(desk.crew, draining=desk.draining)

    @router.get("/slots")
    async def slots() -> dict[str, object]:
        return slots_of(desk.load())

    @router.post("/drain")
    async def drain() -> dict[str, object]:
        return _set_draining(desk, True)

    @router.delete("/drain")
    async def undrain() -> dict[str, object]:
        return _set_draining(desk, False)

    return router


def _set_draining(desk: Desk, draining: bool) -> dict[str, object]:
    desk.set_draining(draining)
    return {"draining": desk.draining, "sessions": desk.crew.taken}
