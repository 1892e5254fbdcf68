"""Limits that hold before any work is done: the size of a body, the rate of offers, the bearer token."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import Request

from mediapod.access import Access, Denied
from mediapod.api.problems import Problem

MAXIMUM_BODY_BYTES = 64 * 1024
OFFERS_PER_SECOND, OFFERS_AT_ONCE = 25.0, 50.0  # a handshake costs some 5 ms of one core
REQUESTS_PER_SECOND, REQUESTS_AT_ONCE = 200.0, 400.0  # PATCH and DELETE on session URLs: a few for each session


class TokenBucket:
    """Lets `per_second` calls pass on average and `at_once` at a time."""

    def __init__(self, per_second: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._at_once, self._clock = per_second, at_once, clock
        self._tokens, self._updated = at_once, clock()

    def take(self) -> bool:
        """Whether a call may pass now."""
        now = self._clock()
        self._tokens = min(self._at_once, self._tokens + (now - self._updated) * self._per_second)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


async def read_body(request: Request, maximum_bytes: int = MAXIMUM_BODY_BYTES) -> bytes:
    """The body of a request. Raises Problem 413 as soon as it is larger than allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > maximum_bytes:
            raise Problem(413, f"the body is larger than {maximum_bytes} bytes", field="body")
    return bytes(body)


def check_access(request: Request, access: Access) -> None:
    """Raise Problem 401 unless the request carries a bearer token that `access` accepts."""
    try:
        access.check(request.headers.get("authorization", ""))
    except Denied as denied:
        headers = {"WWW-Authenticate": "Bearer"}
        raise Problem(401, str(denied), field="Authorization", headers=headers) from denied
