"""The two applications: `http` for users, `admin` for the operator, probes and Prometheus."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from mediapod.api.admin import admin_router
from mediapod.api.effects import effects_router
from mediapod.api.health import Condition, health_router
from mediapod.api.problems import answer_with_problems
from mediapod.api.process import Processing, process_router
from mediapod.api.session_url import session_router
from mediapod.api.signalling import Signalling
from mediapod.api.ui import ui_router
from mediapod.api.webrtc import status_router, webrtc_router
from mediapod.api.whip import whip_router
from mediapod.observability.metrics import Metrics
from mediapod.placement.forwarding import PREFIX

UNMEASURED = frozenset(
    {"/healthz", "/readyz", "/startupz", "/metrics", "/slots"}
)  # machines asking; they would hide what users see


class RequestMeter:
    """ASGI middleware that counts and times requests by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in UNMEASURED:
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            endpoint = getattr(scope.get("route"), "path", "other")
            self._metrics.request(endpoint, time.monotonic() - started)


def http_app(
    signalling: Signalling,
    processing: Processing,
    condition: Condition,
    allowed_origins: Sequence[str],
    pipeline: str = "",
) -> FastAPI:
    """The application for users."""
    app = _app("mediapod")
    app.include_router(process_router(processing))
    app.include_router(ui_router(pipeline, processing.pipeline))
    _include_signalling(app, signalling, "")
    app.include_router(status_router(signalling))
    app.include_router(effects_router())
    app.include_router(health_router(condition, signalling.metrics))
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(allowed_origins),
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match"],
        expose_headers=["Location", "ETag", "Link", "Retry-After", "Accept-Patch"],
    )
    app.add_middleware(RequestMeter, metrics=signalling.metrics)
    return app


def admin_app(signalling: Signalling, condition: Condition) -> FastAPI:
    """The application for the operator, probes, Prometheus, and the pipeline's other pods."""
    app = _app("mediapod admin")
    app.include_router(admin_router(signalling.registry))
    app.include_router(health_router(condition, signalling.metrics))
    _include_signalling(app, signalling.here_only(), PREFIX)
    return app


def _include_signalling(app: FastAPI, signalling: Signalling, prefix: str) -> None:
    for router in (webrtc_router, whip_router, session_router):
        app.include_router(router(signalling), prefix=prefix)


def _app(title: str) -> FastAPI:
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    answer_with_problems(app)
    return app
