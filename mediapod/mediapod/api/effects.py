"""Which effects there are, with the JSON schema of their parameters."""

from __future__ import annotations

from fastapi import APIRouter

from mediapod.effects import schemas


def effects_router() -> APIRouter:
    """/effects."""
    router = APIRouter()

    @router.get("/effects")
    async def effects() -> dict[str, object]:
        return {"effects": [{"name": name, "parameters": schema} for name, schema in schemas().items()]}

    return router
