"""Hands offers and session requests to another pod, over its admin port: one hop, a short time-out."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx
import structlog

from mediapod.placement.board import ASKED_PEERS, LoadBoard
from mediapod.placement.choice import Load, choose_peer
from mediapod.placement.peers import Peers, owner_of

log = structlog.get_logger(__name__)

FORWARD_SECONDS = 1.5
REFUSE_AFTER_SECONDS = 0.2  # nobody is refused by what was known longer ago
ROOM_HEADER = "mediapod-needs-room"  # on an offer that packs: to be served only if there still is room
NO_ROOM_STATUS = 412
PREFIX = "/placement"  # on the admin port; what arrives there is never handed on
RETURNED_HEADERS = ("content-type", "location", "etag", "link", "accept-patch", "retry-after", "www-authenticate")


WORKER_MARK = "."  # in owners, between the pod and the number of its media worker


class OwnerUnknown(LookupError):  # noqa: N818  says what is the case
    """No pod of this pipeline has that name (any more)."""


class OwnerUnreachable(ConnectionError):  # noqa: N818  says what is the case
    """The pod that owns the session does not answer."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A request to be handed on."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other pod answered. headers: those that the client needs; names may come more than once."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Placement:
    """Places offers on peers and finds the owners of sessions. peers None: everything is served here."""

    def __init__(self, peers: Peers | None, own_load: Callable[[], Load], own_address: str) -> None:
        self.owner = owner_of(own_address)
        self._own_load = own_load
        self._randomness = random.Random()  # noqa: S311  spreads load, keeps no secret
        self._http = httpx.AsyncClient(timeout=FORWARD_SECONDS, trust_env=False)
        self._board = LoadBoard(peers, own_address, self._http, self._randomness) if peers is not None else None

    async def place(self, hop: Hop) -> Answer | None:
        """Let a peer answer the offer, if one had better do so (see choose_peer); None: serve it here."""
        if self._board is None:
            return None
        for _ in range(ASKED_PEERS):  # what is known is up to a second old: one that has filled up since refuses
            peer = await self._choose(self._board)
            if peer is None:
                return None
            answer = await self._forward(peer.address, _if_room(hop) if peer.packs else hop)
            if answer is None:  # waiting for another one as long again would be worse than an answer
                self._board.unreachable(peer.address)
                return None
            if 200 <= answer.status < 300:
                self._board.placed(peer.address)
                return answer
            if answer.status == NO_ROOM_STATUS and peer.packs:
                self._board.without_room(peer.address)
            else:
                self._board.unreachable(peer.address)
        return None

    async def _choose(self, board: LoadBoard) -> Load | None:
        """The peer to try; None: this pod, which may have to refuse, then not by old knowledge."""
        peer = choose_peer(self._own_load(), await board.loads(), self._randomness)
        if peer is not None or self._own_load().open:
            return peer
        return choose_peer(self._own_load(), await board.loads(REFUSE_AFTER_SECONDS), self._randomness)

    async def to_owner(self, owner: str, hop: Hop) -> Answer:
        """Let the owner of a session answer: a pod, or "pod.worker". Raises OwnerUnknown, OwnerUnreachable."""
        pod, _, _ = owner.partition(WORKER_MARK)
        address = await self._board.address_of(pod) if self._board is not None else None
        if address is None:
            raise OwnerUnknown(owner)
        answer = await self._forward(address, hop)
        if answer is None:
            raise OwnerUnreachable(owner)
        return answer

    async def close(self) -> None:
        """Close the connections to peers."""
        await self._http.aclose()

    async def _forward(self, address: str, hop: Hop) -> Answer | None:
        url = f"http://{address}{PREFIX}{hop.path}"
        try:
            answer = await self._http.request(hop.method, url, headers=hop.headers, content=hop.body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning("peer did not answer", peer=address, error=str(error), kind=type(error).__name__)
            return None
        headers = [(name, value) for name, value in answer.headers.multi_items() if name in RETURNED_HEADERS]
        return Answer(answer.status_code, headers, answer.content)


def _if_room(hop: Hop) -> Hop:
    return replace(hop, headers={**hop.headers, ROOM_HEADER: "1"})
