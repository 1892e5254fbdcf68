"""Limits that hold before any work is done: the size of a body, the rate of offers, the bearer token."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

from fastapi import Request

from mediapod.api.problems import Problem

MAXIMUM_BODY_BYTES = 64 * 1024
OFFERS_PER_SECOND, OFFERS_AT_ONCE = 25.0, 50.0  # a handshake costs some 5 ms of one core


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


async def read_body(request: Request) -> bytes:
    """The body of a request. Raises Problem 413 as soon as it is larger than allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAXIMUM_BODY_BYTES:
            raise Problem(413, f"the body is larger than {MAXIMUM_BODY_BYTES} bytes", field="body")
    return bytes(body)


def check_token(request: Request, token: str | None) -> None:
    """Raise Problem 401 unless the request carries the bearer token, compared in constant time. No token set: open."""
    if token is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        detail = "a valid bearer token is needed (Authorization: Bearer ...)"
        raise Problem(401, detail, field="Authorization", headers={"WWW-Authenticate": "Bearer"})
