"""Offers to a media service: POST {service}/webrtc/offer, again and again with back-off while it answers 503."""

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 5.0


class OfferError(Exception):
    """The service did not accept the offer; the message says what it answered."""


class OfferRejectedError(OfferError):
    """503: full or draining. retry_after_seconds is None when the answer has no usable Retry-After."""

    def __init__(self, message: str, retry_after_seconds: float | None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class OfferRefusedError(OfferError):
    """An answer that trying again will not change, such as 400 or 401."""


@dataclass(frozen=True)
class Answer:
    """What the service answered."""

    sdp: str
    type: str
    session_id: str


class OfferCounts(Protocol):
    """Where the attempts of one session are counted as they happen: all, rejected with 503, failed in any other way."""

    offers: int
    rejections: int
    failed_offers: int


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):  # absent, or a date: we choose ourselves
        return None


async def _answer_of(response: aiohttp.ClientResponse) -> Answer:
    if response.status == 503:
        raise OfferRejectedError((await response.text())[:300], _retry_after(response))
    if response.status not in (200, 201):
        kind = OfferRefusedError if 400 <= response.status < 500 and response.status != 429 else OfferError
        raise kind(f"{response.url} answered {response.status}: {(await response.text())[:300]}")
    try:
        body: dict[str, Any] = await response.json()
        return Answer(str(body["sdp"]), str(body["type"]), str(body.get("sessionId", "")))
    except (ValueError, KeyError, TypeError, aiohttp.ContentTypeError) as error:
        raise OfferRefusedError(f"{response.url} answered no JSON with sdp and type: {error!r}") from error


def _new_connection(token: str, timeout_seconds: float) -> aiohttp.ClientSession:
    """A connection of its own, so that a proxy may choose another pod each time."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), timeout=timeout, headers=headers)


async def post_offer(service_url: str, sdp: str, *, token: str = "", timeout_seconds: float = 10.0) -> Answer:
    """One offer. Raises OfferRejectedError (503), OfferRefusedError (the client is wrong), else OfferError."""
    url = f"{service_url.rstrip('/')}/webrtc/offer"
    try:
        async with (
            _new_connection(token, timeout_seconds) as session,
            session.post(url, json={"sdp": sdp, "type": "offer"}) as response,
        ):
            return await _answer_of(response)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise OfferError(f"{url}: {error!r}") from error


async def ice_servers(service_url: str, *, token: str = "", timeout_seconds: float = 10.0) -> list[dict[str, Any]]:
    """The iceServers that the service gives its clients; none where it gives none. Raises OfferError."""
    url = f"{service_url.rstrip('/')}/webrtc/ice-servers"
    try:
        async with _new_connection(token, timeout_seconds) as session, session.get(url) as response:
            return list((await response.json())["iceServers"]) if response.status == 200 else []
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
        raise OfferError(f"{url}: {error!r}") from error


def _wait_seconds(error: OfferError, attempt: int) -> float:
    """Retry-After where given (capped), else doubling; both with jitter, so that clients do not come back as one."""
    hint = error.retry_after_seconds if isinstance(error, OfferRejectedError) else None
    wait = hint if hint is not None else _FIRST_WAIT_SECONDS * 2 ** min(attempt, 6)
    return min(wait, _LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311  jitter, not a secret


async def offer_until(
    service_url: str, sdp: str, counts: OfferCounts, *, deadline_seconds: float, token: str = "", timeout_seconds: float
) -> Answer:
    """Offer until accepted; raises the last OfferError when the deadline is over or trying again is no use."""
    end = time.monotonic() + deadline_seconds
    for attempt in range(1_000):
        counts.offers += 1
        try:
            return await post_offer(service_url, sdp, token=token, timeout_seconds=timeout_seconds)
        except OfferError as error:
            counts.rejections += isinstance(error, OfferRejectedError)
            counts.failed_offers += not isinstance(error, OfferRejectedError)
            wait = _wait_seconds(error, attempt)
            if isinstance(error, OfferRefusedError) or time.monotonic() + wait > end:
                raise
        await asyncio.sleep(wait)
    raise OfferError(f"{service_url}: gave up after {counts.offers} offers")
