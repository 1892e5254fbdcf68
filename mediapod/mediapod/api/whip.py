"""WHIP (RFC 9725) and WHEP: publish a stream with one POST, play the processed stream with another."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from mediapod.api.limits import check_access
from mediapod.api.problems import Problem
from mediapod.api.signalling import SDP_TYPE, Signalling, media_type
from mediapod.frames.ledger import FrameLedger
from mediapod.rtc.broadcast import Broadcast
from mediapod.rtc.connection import OnConnectionState
from mediapod.rtc.ice import MediaAddress
from mediapod.rtc.offer import Purpose
from mediapod.rtc.peer import PublishingPeer
from mediapod.rtc.viewer import ViewingPeer
from mediapod.session.session import PeerFactory, Session


class SdpOffer:
    """What WHIP and WHEP share. See OfferForm."""

    unsupported_status = 422

    def read(self, request: Request, body: bytes) -> str:
        """See OfferForm."""
        if media_type(request) != SDP_TYPE:
            raise Problem(415, f"Content-Type: must be {SDP_TYPE}", field="Content-Type")
        if not _accepts_sdp(request.headers.get("accept", "")):
            raise Problem(406, f"Accept: the answer can only be {SDP_TYPE}", field="Accept")
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise Problem(400, "body: is not UTF-8 text", field="body") from error

    def render(self, signalling: Signalling, session: Session, sdp: str) -> Response:
        """See OfferForm."""
        response = Response(sdp, 201, media_type=SDP_TYPE)
        response.headers["content-type"] = SDP_TYPE  # without a charset: SDP has none
        for link in signalling.ice_server_links(session.id):
            response.headers.append("link", link)
        return response


class WhipOffer(SdpOffer):
    """A publisher's offer."""

    purpose = Purpose.PUBLISH
    owner: str | None = None

    def peer_factory(self, signalling: Signalling) -> PeerFactory | None:
        """See OfferForm."""
        return signalling.publish

    def render(self, signalling: Signalling, session: Session, sdp: str) -> Response:
        """See OfferForm. A further link says where the processed stream is played."""
        response = super().render(signalling, session, sdp)
        response.headers.append("link", f'</whep/{signalling.owner}-{session.id}>; rel="alternate"; type="{SDP_TYPE}"')
        return response


class WhepOffer(SdpOffer):
    """A viewer's offer for `stream`, "owner-session"."""

    purpose = Purpose.PLAY

    def __init__(self, stream: str) -> None:
        owner, _, self._session_id = stream.partition("-")
        self.owner: str | None = owner

    def peer_factory(self, signalling: Signalling) -> PeerFactory | None:
        """See OfferForm."""
        session = signalling.registry.find(self._session_id)
        if session is None or not isinstance(session.peer, PublishingPeer):
            raise Problem(404, "no such stream; its publisher may have ended")
        return partial(_viewer, session.peer.broadcast, signalling.address)


def _viewer(
    broadcast: Broadcast, address: MediaAddress, ledger: FrameLedger, on_state: OnConnectionState
) -> ViewingPeer:
    return ViewingPeer(broadcast, address, on_state)  # no frames arrive, its ledger stays empty


def whip_router(signalling: Signalling) -> APIRouter:
    """/whip and /whep/{stream}."""
    router = APIRouter()

    @router.post("/whip")
    async def publish(request: Request) -> Response:
        return await signalling.offer(request, WhipOffer())

    @router.post("/whep/{stream}")
    async def play(request: Request, stream: str) -> Response:
        return await signalling.offer(request, WhepOffer(stream))

    @router.options("/whip")
    @router.options("/whep/{stream}")
    async def options(request: Request) -> Response:
        return _options(request, signalling)

    return router


def _options(request: Request, signalling: Signalling) -> Response:
    """What is accepted; whoever may open sessions also learns the TURN servers."""
    response = Response(status_code=200)
    response.headers["accept-post"] = SDP_TYPE
    response.headers["allow"] = "OPTIONS, POST"
    try:
        check_access(request, signalling.access)
    except Problem:
        return response
    for link in signalling.ice_server_links("options"):
        response.headers.append("link", link)
    return response


def _accepts_sdp(accept: str) -> bool:
    wanted = {part.partition(";")[0].strip().lower() for part in accept.split(",") if part.strip()}
    return not wanted or bool(wanted & {SDP_TYPE, "application/*", "*/*"})
