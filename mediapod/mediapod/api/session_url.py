"""The session URL: trickled candidates and the end, whatever way the session was opened; any pod takes them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from mediapod.api.hops import as_response, hop_of
from mediapod.api.limits import check_access, read_body
from mediapod.api.problems import Problem
from mediapod.api.refusals import ask_owner, check_rate, no_such_session
from mediapod.api.signalling import Signalling, media_type
from mediapod.rtc.connection import OtherIceCredentials
from mediapod.rtc.offer import InvalidOffer
from mediapod.rtc.trickle import MAXIMUM_FRAGMENT_BYTES, Fragment, parse_fragment
from mediapod.session.session import Session
from mediapod.session.state import EndReason, State

FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"
NO_RESTART = "ICE restarts are not supported, the session goes on; open a new one instead"


def session_router(signalling: Signalling) -> APIRouter:
    """/session/{token}; token = owner and secret."""
    router = APIRouter()

    @router.patch("/session/{token}")
    async def trickle(request: Request, token: str) -> Response:
        return await _serve(signalling, request, token)

    @router.delete("/session/{token}")
    async def end(request: Request, token: str) -> Response:
        return await _serve(signalling, request, token)

    @router.options("/session/{token}")
    async def options(token: str) -> Response:
        return Response(headers={"accept-patch": FRAGMENT_TYPE, "allow": "DELETE, OPTIONS, PATCH"})

    return router


async def _serve(signalling: Signalling, request: Request, token: str) -> Response:
    check_access(request, signalling.access)
    check_rate(signalling.session_requests, "requests")
    body = await read_body(request, MAXIMUM_FRAGMENT_BYTES)
    owner, _, secret = token.partition("-")
    if owner != signalling.owner:
        return as_response(await ask_owner(signalling.placement, owner, hop_of(request, body)))
    session = signalling.registry.find_by_secret(secret)
    if session is None or session.state is State.ENDED:
        raise no_such_session()
    if request.method == "DELETE":
        session.end(EndReason.CLIENT_ENDED)
        return Response(status_code=200)
    return await _trickle(session, request, body)


async def _trickle(session: Session, request: Request, body: bytes) -> Response:
    if media_type(request) != FRAGMENT_TYPE:
        accepted = {"Accept-Patch": FRAGMENT_TYPE}
        raise Problem(415, f"Content-Type: must be {FRAGMENT_TYPE}", field="Content-Type", headers=accepted)
    _check_tag(session, request.headers.get("if-match"))
    try:
        await session.add_candidates(_fragment(body))
    except InvalidOffer as invalid:
        raise Problem(400, str(invalid), field=invalid.field) from invalid
    except OtherIceCredentials as error:
        raise Problem(422, NO_RESTART, field="a=ice-ufrag") from error
    return Response(status_code=204)


def _check_tag(session: Session, tag: str | None) -> None:
    """RFC 9725 section 4.3: the tag of the ICE session in question, "*" for a restart."""
    if tag is None:
        raise Problem(428, "If-Match: is needed, with the ETag of the session", field="If-Match")
    if tag.strip() == "*":
        raise Problem(422, NO_RESTART, field="If-Match")
    if session.ice_tag not in [part.strip() for part in tag.split(",")]:
        raise Problem(412, "If-Match: is not the ETag of this session", field="If-Match")


def _fragment(body: bytes) -> Fragment:
    try:
        return parse_fragment(body.decode())
    except UnicodeDecodeError as error:
        raise InvalidOffer("body", "is not UTF-8 text") from error
