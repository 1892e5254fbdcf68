"""What all ways of signalling share: access, rate, the offer checked, placed or answered, and the session URL."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from fastapi import Request
from fastapi.responses import Response

from mediapod.access import Access
from mediapod.api.hops import as_response, asks_for_room, hop_of, no_room
from mediapod.api.limits import TokenBucket, check_access, read_body
from mediapod.api.problems import Problem
from mediapod.api.refusals import RefusedProblem, ask_owner, check_rate, result_of, unavailable
from mediapod.observability.metrics import Metrics, OfferResult
from mediapod.placement import Answer, Placement
from mediapod.rtc.errors import MediaUnavailable
from mediapod.rtc.ice import MediaAddress
from mediapod.rtc.offer import InvalidOffer, Offer, Purpose, check_offer
from mediapod.rtc.turn import TurnServers
from mediapod.session.admission import Draining, Refused
from mediapod.session.registry import SessionRegistry
from mediapod.session.session import PeerFactory, Session

log = structlog.get_logger(__name__)

SDP_TYPE = "application/sdp"


class OfferForm(Protocol):
    """How one protocol carries an offer. owner: the pod that must answer, None: any; unsupported_status: the HTTP
    status of an offer that is well-formed and asks for what is not offered.
    """

    purpose: Purpose
    owner: str | None
    unsupported_status: int

    def read(self, request: Request, body: bytes) -> str:
        """The SDP in a request. Raises Problem."""

    def peer_factory(self, signalling: Signalling) -> PeerFactory | None:
        """The kind of peer that answers, None: the usual one. Raises Problem."""

    def render(self, signalling: Signalling, session: Session, sdp: str) -> Response:
        """The response to an accepted offer."""


@dataclass(frozen=True, slots=True)
class Signalling:
    """What the signalling endpoints need. placement None: every offer is served here, the last hop. has_room: see
    mediapod.session.room."""

    registry: SessionRegistry
    metrics: Metrics
    offers: TokenBucket
    session_requests: TokenBucket
    access: Access
    turn: TurnServers
    address: MediaAddress
    publish: PeerFactory
    owner: str
    has_room: Callable[[], bool]
    placement: Placement | None = None

    def here_only(self) -> Signalling:
        """The same, for requests that another pod has handed on."""
        return replace(self, placement=None)

    async def offer(self, request: Request, form: OfferForm) -> Response:
        """Answer the offer in `request`, here or by another pod. Raises Problem; counts every outcome, but not that a
        pod which wanted to pack must look further: nobody is refused by that.
        """
        if self.placement is None and asks_for_room(request) and not self.has_room():
            return no_room()
        try:
            response, result = await self._offer(request, form)
        except Problem as problem:
            self.metrics.offer(result_of(problem))
            raise
        except Exception:
            self.metrics.offer(OfferResult.FAILED)
            raise
        self.metrics.offer(result)
        return response

    async def _offer(self, request: Request, form: OfferForm) -> tuple[Response, OfferResult]:
        check_access(request, self.access)
        body = await read_body(request)
        check_rate(self.offers, "offers")
        offer = _checked(form, request, body)
        placed = await self._elsewhere(request, body, form)
        if placed is not None:
            return as_response(placed), OfferResult.PLACED
        return await self._here(offer, form), OfferResult.ACCEPTED

    async def _elsewhere(self, request: Request, body: bytes, form: OfferForm) -> Answer | None:
        if self.placement is None or form.owner == self.owner:
            return None
        hop = hop_of(request, body)
        if form.owner is None:
            return await self.placement.place(hop)
        return await ask_owner(self.placement, form.owner, hop)

    async def _here(self, offer: Offer, form: OfferForm) -> Response:
        try:
            session, answer = await self.registry.open(offer, form.peer_factory(self))
        except InvalidOffer as invalid:
            raise _problem_of(invalid, form) from invalid
        except Refused as refused:
            raise RefusedProblem(str(refused), refused.retry_after_seconds, isinstance(refused, Draining)) from refused
        except MediaUnavailable as error:
            log.warning("no address for media", error=str(error))
            raise unavailable(error.public) from error
        response = form.render(self, session, answer)
        response.headers["location"] = f"/session/{self.owner}-{session.secret}"
        response.headers["etag"] = session.ice_tag
        response.headers["accept-patch"] = "application/trickle-ice-sdpfrag"
        return response

    def ice_server_links(self, name: str) -> list[str]:
        """Values of Link headers that tell a client its TURN servers."""
        return list(self.turn.links(name, time.time()))


def media_type(request: Request) -> str:
    """The media type of the body, lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _checked(form: OfferForm, request: Request, body: bytes) -> Offer:
    try:
        return check_offer(form.read(request, body), form.purpose)
    except InvalidOffer as invalid:
        raise _problem_of(invalid, form) from invalid


def _problem_of(invalid: InvalidOffer, form: OfferForm) -> Problem:
    status = 413 if invalid.too_large else form.unsupported_status if invalid.unsupported else 400
    return Problem(status, str(invalid), field=invalid.field)
