"""Signalling in JSON: an SDP offer, answered with all candidates; and what the pod can do."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from mediapod.api.limits import check_access
from mediapod.api.problems import Problem
from mediapod.api.signalling import Signalling
from mediapod.rtc.offer import Purpose
from mediapod.session.session import PeerFactory, Session


class OfferRequest(BaseModel):
    """Body of POST /webrtc/offer."""

    model_config = ConfigDict(extra="ignore")
    sdp: str
    type: str = "offer"


class JsonOffer:
    """See OfferForm."""

    purpose = Purpose.RETURN
    owner: str | None = None
    unsupported_status = 400

    def read(self, request: Request, body: bytes) -> str:
        """See OfferForm."""
        return _parse(body).sdp

    def peer_factory(self, signalling: Signalling) -> PeerFactory | None:
        """See OfferForm."""
        return None

    def render(self, signalling: Signalling, session: Session, sdp: str) -> Response:
        """See OfferForm."""
        return JSONResponse({"sdp": sdp, "type": "answer", "sessionId": session.id})


def webrtc_router(signalling: Signalling) -> APIRouter:
    """/webrtc/offer and /webrtc/ice-servers."""
    router = APIRouter()

    @router.get("/webrtc/ice-servers")
    async def ice_servers(request: Request) -> JSONResponse:
        check_access(request, signalling.access)
        servers = signalling.turn.ice_servers("browser", time.time())
        return JSONResponse({"iceServers": servers}, headers={"Cache-Control": "no-store"})

    @router.post("/webrtc/offer")
    async def offer(request: Request) -> Response:
        return await signalling.offer(request, JsonOffer())

    return router


def status_router(signalling: Signalling) -> APIRouter:
    """/webrtc/status."""
    router = APIRouter()

    @router.get("/webrtc/status")
    async def status() -> dict[str, object]:
        registry = signalling.registry
        reports = [session.report() for session in registry.sessions]
        return {
            "draining": registry.admission.draining,
            "active": registry.active,
            "pending": registry.pending,
            "capacity": registry.admission.capacity,
            "videoCodecs": ["H264", "VP8"],
            "audioCodecs": ["opus"],
            "connections": [
                {"state": r.state, "startedTime": r.startedTime, "videoCodec": r.videoCodec} for r in reports
            ],  # without ids: they belong to their sessions' owners
        }

    return router


def _parse(body: bytes) -> OfferRequest:
    try:
        request = OfferRequest.model_validate_json(body)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise Problem(
            400, f'{field}: {first["msg"]}; send JSON {{"sdp": "...", "type": "offer"}}', field=field
        ) from invalid
    if request.type != "offer":
        raise Problem(400, f"type: is {request.type[:20]!r}; it must be 'offer'", field="type")
    return request
