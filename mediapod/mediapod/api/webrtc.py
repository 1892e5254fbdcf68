"""Signalling: an SDP offer in JSON, answered with all candidates; and what the pod can do."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from mediapod.api.limits import TokenBucket, check_token, read_body
from mediapod.api.problems import Problem
from mediapod.observability.metrics import Metrics, OfferResult
from mediapod.rtc.ice import NoMediaPort
from mediapod.rtc.offer import InvalidOffer, check_offer
from mediapod.session.admission import Draining, Refused
from mediapod.session.registry import SessionRegistry

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2


class OfferRequest(BaseModel):
    """Body of POST /webrtc/offer."""

    model_config = ConfigDict(extra="ignore")
    sdp: str
    type: str = "offer"


@dataclass(frozen=True, slots=True)
class Signalling:
    """What the signalling endpoints need. token None: open."""

    registry: SessionRegistry
    metrics: Metrics
    bucket: TokenBucket
    token: str | None

    async def offer(self, request: Request) -> dict[str, str]:
        """Answer the JSON offer in `request`. Raises Problem; counts every outcome."""
        try:
            check_token(request, self.token)
            session_id, answer = await self._open(await read_body(request))
        except Problem as problem:
            self.metrics.offer(_result_of(problem))
            raise
        except Exception:
            self.metrics.offer(OfferResult.FAILED)
            raise
        self.metrics.offer(OfferResult.ACCEPTED)
        return {"sdp": answer, "type": "answer", "sessionId": session_id}

    async def _open(self, body: bytes) -> tuple[str, str]:
        self._check_rate()
        try:
            offer = check_offer(_parse(body).sdp)
            session, answer = await self.registry.open(offer)
        except InvalidOffer as invalid:
            raise Problem(413 if invalid.too_large else 400, str(invalid), field=invalid.field) from invalid
        except Refused as refused:
            raise RefusedProblem(str(refused), refused.retry_after_seconds, isinstance(refused, Draining)) from refused
        except NoMediaPort as error:
            log.warning("no media port", error=str(error))
            raise Problem(503, "no media port is free", headers={"Retry-After": str(RETRY_SECONDS)}) from error
        return session.id, answer

    def _check_rate(self) -> None:
        if not self.bucket.take():
            raise Problem(429, "too many offers at once", headers={"Retry-After": str(RETRY_SECONDS)})


class RefusedProblem(Problem):
    """503: full or draining."""

    def __init__(self, detail: str, retry_after_seconds: int, draining: bool) -> None:
        super().__init__(503, detail, headers={"Retry-After": str(retry_after_seconds)})
        self.draining = draining


def webrtc_router(signalling: Signalling) -> APIRouter:
    """/webrtc/offer and /webrtc/status."""
    router = APIRouter()

    @router.post("/webrtc/offer")
    async def offer(request: Request) -> dict[str, str]:
        return await signalling.offer(request)

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


def _result_of(problem: Problem) -> OfferResult:
    if isinstance(problem, RefusedProblem):
        return OfferResult.REJECTED_DRAINING if problem.draining else OfferResult.REJECTED_CAPACITY
    if problem.status == 429:
        return OfferResult.REJECTED_CAPACITY
    return OfferResult.INVALID if problem.status < 500 else OfferResult.FAILED
