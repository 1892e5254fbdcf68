"""The operator's interface: sessions and draining."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from fastapi import APIRouter

from mediapod.placement import Load
from mediapod.placement.board import slots_of
from mediapod.session.registry import SessionRegistry


def admin_router(registry: SessionRegistry, load: Callable[[], Load]) -> APIRouter:
    """/sessions, /slots (what other pods ask) and /drain. load: of this pod."""
    router = APIRouter()

    @router.get("/sessions")
    async def sessions() -> dict[str, object]:
        return {
            "draining": registry.admission.draining,
            "active": registry.active,
            "pending": registry.pending,
            "capacity": registry.admission.capacity,
            "sessions": [asdict(session.report()) for session in registry.sessions],
        }

    @router.get("/slots")
    async def slots() -> dict[str, object]:
        return slots_of(load())

    @router.post("/drain")
    async def drain() -> dict[str, object]:
        return _set_draining(registry, True)

    @router.delete("/drain")
    async def undrain() -> dict[str, object]:
        return _set_draining(registry, False)

    return router


def _set_draining(registry: SessionRegistry, draining: bool) -> dict[str, object]:
    registry.set_draining(draining)
    return {"draining": registry.admission.draining, "sessions": registry.active + registry.pending}
