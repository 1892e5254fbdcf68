"""The two applications: `http` for users, `admin` for the operator, probes and Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from mediapod.api.admin import admin_router
from mediapod.api.cors import allow_origins
from mediapod.api.effects import effects_router
from mediapod.api.health import Condition, Exposition, health_router
from mediapod.api.meter import RequestMeter
from mediapod.api.notes import WorkerNotes
from mediapod.api.problems import answer_with_problems
from mediapod.api.process import Processing, process_router
from mediapod.api.session_url import session_router
from mediapod.api.signalling import Signalling
from mediapod.api.ui import ui_router
from mediapod.api.webrtc import status_router, webrtc_router
from mediapod.api.whip import whip_router
from mediapod.observability.metrics import Metrics
from mediapod.placement import Load
from mediapod.placement.forwarding import PREFIX


def http_app(
    signalling: Signalling,
    processing: Processing,
    condition: Condition,
    allowed_origins: Sequence[str],
    pipeline: str = "",
    *,
    behind_front: bool = False,
) -> FastAPI:
    """The application for users. behind_front: one of several processes, whose front does the measuring."""
    app = _app("mediapod")
    app.include_router(process_router(processing))
    app.include_router(ui_router(pipeline, processing.pipeline))
    _include_signalling(app, signalling, "")
    app.include_router(status_router(signalling))
    app.include_router(effects_router())
    app.include_router(health_router(condition, _exposition(signalling.metrics)))
    allow_origins(app, allowed_origins)
    if behind_front:
        app.add_middleware(WorkerNotes, taken=lambda: len(signalling.registry.sessions))
    else:
        app.add_middleware(RequestMeter, metrics=signalling.metrics)
    return app


def admin_app(signalling: Signalling, condition: Condition, load: Callable[[], Load]) -> FastAPI:
    """The application for the operator, probes, Prometheus, and the pipeline's other pods."""
    app = _app("mediapod admin")
    app.include_router(admin_router(signalling.registry, load))
    app.include_router(health_router(condition, _exposition(signalling.metrics)))
    _include_signalling(app, signalling.here_only(), PREFIX)
    return app


def _exposition(metrics: Metrics) -> Exposition:
    async def exposition() -> tuple[bytes, str]:
        return metrics.exposition()

    return exposition


def _include_signalling(app: FastAPI, signalling: Signalling, prefix: str) -> None:
    for router in (webrtc_router, whip_router, session_router):
        app.include_router(router(signalling), prefix=prefix)


def _app(title: str) -> FastAPI:
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    answer_with_problems(app)
    return app
