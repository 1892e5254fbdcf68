"""Where requests go: offers to the least loaded worker or an emptier pod, session URLs to their owner."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from fastapi import Request
from fastapi.responses import Response

from mediapod.access import Access
from mediapod.api.hops import as_response, asks_for_room, hop_of, no_room
from mediapod.api.limits import MAXIMUM_BODY_BYTES, TokenBucket, check_access, read_body
from mediapod.api.meter import ANSWERED_BY
from mediapod.api.problems import Problem
from mediapod.api.refusals import (
    RETRY_SECONDS,
    RefusedProblem,
    ask_owner,
    check_rate,
    no_such_session,
    result_of,
    unavailable,
)
from mediapod.front.crew import Crew
from mediapod.front.forward import NotThere, forward
from mediapod.front.member import Member
from mediapod.observability.metrics import Metrics, OfferResult
from mediapod.placement import Load, Placement
from mediapod.placement.forwarding import PREFIX, WORKER_MARK
from mediapod.session.admission import DRAINING, RECONNECT_SECONDS
from mediapod.session.room import Measured, has_room

log = structlog.get_logger(__name__)

REQUESTS_AT_ONCE = 64  # for each worker: so many pictures may wait there
WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(slots=True)
class Desk:
    """Hands out requests. owner, address: this pod in session URLs and for its peers; started: whether all processes
    have been ready; fill_share: see MEDIAPOD_PLACEMENT_FILL_PERCENT.
    """

    crew: Crew
    metrics: Metrics
    access: Access
    offers: TokenBucket
    maximum_bytes: int
    owner: str
    address: str
    placement: Placement
    started: Callable[[], bool]
    fill_share: float
    draining: bool = False

    def set_draining(self, draining: bool) -> None:
        """Begin or end draining; sessions go on either way."""
        if draining is not self.draining:
            self.draining = draining
            log.info("draining changed", draining=draining, sessions=self.crew.taken)

    def load(self) -> Load:
        """How full the pod is."""
        workers = self.crew.workers
        capacity = sum(member.status.capacity for member in workers)
        draining = self.draining or not self.started() or not capacity
        busy = self.crew.busy_share()
        room = self._has_room(self.crew.taken, capacity, busy)
        return Load(self.address, self.crew.taken, capacity, draining=draining, room=room, busy=busy)

    def _has_room(self, taken: int, capacity: int, busy_share: float) -> bool:
        """By the pod's share of places and device, and by what the worker says that would get the next session."""
        following = least_loaded(self.crew.workers)
        if following is None or following.opening or not following.status.room:
            return False
        return has_room(taken, capacity, self.fill_share, Measured(busy_share))

    async def offer(self, request: Request, stream: str | None = None, *, here_only: bool = False) -> Response:
        """Have an offer answered; stream: the one to be watched, whose owner must answer. Raises Problem; counts every
        offer that no worker has counted.
        """
        if here_only and asks_for_room(request) and not self.load().packs:
            return no_room()
        try:
            return await self._offer(request, stream, None if here_only else self.placement)
        except Problem as problem:
            self.metrics.offer(result_of(problem))
            raise
        except Exception:
            self.metrics.offer(OfferResult.FAILED)
            raise

    async def of_session(self, request: Request, token: str, *, here_only: bool = False) -> Response:
        """Have the owner of a session answer. Raises Problem."""
        check_access(request, self.access)
        body = await read_body(request)
        return await self._at_owner(request, body, token, None if here_only else self.placement)

    async def anywhere(self, request: Request) -> Response:
        """Have the worker with the fewest requests answer. Raises Problem."""
        request.scope[ANSWERED_BY] = "other"  # until a worker says better
        if request.method in WITH_BODY:
            check_access(request, self.access)
        workers = self.crew.workers
        if sum(member.requests for member in workers) >= REQUESTS_AT_ONCE * len(workers):
            raise unavailable("too many requests wait already" if workers else "no media worker is running")
        body = await read_body(request, max(self.maximum_bytes, MAXIMUM_BODY_BYTES))
        return await self._first_of(sorted(workers, key=lambda member: (member.requests, member.taken)), request, body)

    async def _offer(self, request: Request, stream: str | None, placement: Placement | None) -> Response:
        check_access(request, self.access)
        body = await read_body(request)
        check_rate(self.offers, "offers")
        if stream is not None:
            return await self._at_owner(request, body, stream, placement)
        placed = await placement.place(hop_of(request, body)) if placement is not None else None
        if placed is not None:
            self.metrics.offer(OfferResult.PLACED)
            return as_response(placed)
        self._check_open()
        return await self._open(request, body)

    async def _at_owner(self, request: Request, body: bytes, token: str, placement: Placement | None) -> Response:
        """token: "pod.worker-secret", or "pod-secret" of a pod with one process."""
        owner, _, _ = token.partition("-")
        pod, _, number = owner.partition(WORKER_MARK)
        if pod != self.owner:
            return as_response(await ask_owner(placement, owner, hop_of(request, body)))
        if request.method == "POST":
            self._check_open()
        member = self.crew.owner(number)
        if member is None:  # its sessions have ended with it
            raise no_such_session()
        return await self._first_of([member], request, body)

    def _check_open(self) -> None:
        if self.draining:
            raise RefusedProblem(DRAINING, RECONNECT_SECONDS, draining=True)
        if not self.started() or not self.crew.workers:
            raise RefusedProblem("no media worker is ready; see /startupz", RETRY_SECONDS, draining=False)

    async def _open(self, request: Request, body: bytes) -> Response:
        """By the least loaded worker. Its own admission has the last word, and counts."""
        tried: list[Member] = []
        while (member := least_loaded(one for one in self.crew.workers if one not in tried)) is not None:
            member.opening += 1
            try:
                return await forward(member, request, body, _path_of(request))
            except NotThere:
                tried.append(member)
            finally:
                member.opening -= 1
        raise unavailable("no media worker is running")

    async def _first_of(self, members: list[Member], request: Request, body: bytes) -> Response:
        """The answer of the first member that is there."""
        for member in members:
            try:
                return await forward(member, request, body, _path_of(request))
            except NotThere:
                continue
        raise unavailable("no media worker is running")


def least_loaded(members: Iterable[Member]) -> Member | None:
    """Who should have the next session: among those who let one more in, the one with the fewest."""
    return min(members, key=lambda member: (not member.status.open, member.taken), default=None)


def _path_of(request: Request) -> bytes:
    """The path at a worker, with the query. What another pod has placed here arrives under a prefix."""
    path: bytes = request.scope["raw_path"].removeprefix(PREFIX.encode())
    query: bytes = request.scope["query_string"]
    return path + b"?" + query if query else path
