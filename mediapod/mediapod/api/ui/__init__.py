"""GET /app: one page, without anything from elsewhere, to try the pipeline with a camera or a test pattern."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from mediapod.engine import StageSpec

# Everything is in the page; it talks to nobody but the pod that it came from.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "media-src blob: mediastream:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def ui_router(pipeline: str, stages: Sequence[StageSpec]) -> APIRouter:
    """/app, and /app/pipeline: what the page says of the pipeline."""
    router = APIRouter()

    @router.get("/app", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        return HTMLResponse(_page(), headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})

    @router.get("/app/pipeline")
    async def described() -> dict[str, object]:
        return {"pipeline": pipeline, "stages": [{"name": stage.name, "effect": stage.effect} for stage in stages]}

    return router


@cache
def _page() -> str:
    return resources.files(__package__).joinpath("app.html").read_text()
