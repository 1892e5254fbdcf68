"""Answers to those who cannot be served: full or draining, too many at once, no such session; and how they count."""

from __future__ import annotations

from mediapod.api.limits import TokenBucket
from mediapod.api.problems import Problem
from mediapod.observability.metrics import OfferResult
from mediapod.placement import OwnerUnknown, OwnerUnreachable, Placement
from mediapod.placement.forwarding import Answer, Hop

RETRY_SECONDS = 2


class RefusedProblem(Problem):
    """503: full or draining."""

    def __init__(self, detail: str, retry_after_seconds: int, draining: bool) -> None:
        super().__init__(503, detail, headers={"Retry-After": str(retry_after_seconds)})
        self.draining = draining


def unavailable(detail: str) -> Problem:
    """503: try again soon."""
    return Problem(503, detail, headers={"Retry-After": str(RETRY_SECONDS)})


def no_such_session() -> Problem:
    """404."""
    return Problem(404, "no such session; it may have ended")


def check_rate(bucket: TokenBucket, what: str) -> None:
    """Raise Problem 429 when too many come at once."""
    if not bucket.take():
        raise Problem(429, f"too many {what} at once", headers={"Retry-After": str(RETRY_SECONDS)})


async def ask_owner(placement: Placement | None, owner: str, hop: Hop) -> Answer:
    """Let another pod answer for its session. Raises Problem 404 or 503."""
    if placement is None:
        raise no_such_session()
    try:
        return await placement.to_owner(owner, hop)
    except OwnerUnknown as error:
        raise no_such_session() from error
    except OwnerUnreachable as error:
        raise unavailable("the pod that owns this session does not answer") from error


def result_of(problem: Problem) -> OfferResult:
    """How an offer counts that ended in `problem`."""
    if isinstance(problem, RefusedProblem):
        return OfferResult.REJECTED_DRAINING if problem.draining else OfferResult.REJECTED_CAPACITY
    if problem.status == 429:
        return OfferResult.REJECTED_CAPACITY
    return OfferResult.INVALID if problem.status < 500 else OfferResult.FAILED
