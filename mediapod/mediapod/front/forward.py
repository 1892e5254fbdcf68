"""Hands one HTTP request to a media worker and its answer back."""

from __future__ import annotations

import asyncio

import httpx
from fastapi import Request
from fastapi.responses import Response

from mediapod.api.meter import ANSWERED_BY
from mediapod.api.notes import NOTES, ROUTE_NOTE, TAKEN_NOTE
from mediapod.api.refusals import unavailable
from mediapod.front.member import Member

ANSWER_SECONDS = 30.0  # longer than any request may take there
CONNECT_SECONDS = 1.0
TIMEOUT = {"connect": CONNECT_SECONDS, "pool": CONNECT_SECONDS, "read": ANSWER_SECONDS, "write": ANSWER_SECONDS}
# RFC 9110 section 7.6.1: of one connection each. And what the front itself has dealt with.
OF_ONE_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"})
NOT_FORWARDED = OF_ONE_HOP | {
    "host", "expect", "origin", "access-control-request-method", "access-control-request-headers",
}  # fmt: skip
NOT_RETURNED = OF_ONE_HOP | NOTES | {"date", "server", "vary"}


class NotThere(ConnectionError):  # noqa: N818  says what is the case
    """The worker has ended; it has not seen the request."""


async def forward(member: Member, request: Request, body: bytes, path: bytes) -> Response:
    """Let a worker answer. path: with the query. Raises NotThere, Problem 503 when it does not answer.

    A request that a worker may have seen is never sent again: it may be what crashed it.
    """
    member.requests += 1
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await member.http.handle_async_request(_outgoing(request, body, path))
            content = await answer.aread()
    except httpx.ConnectError as error:
        raise NotThere(member.name) from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise unavailable(f"the media worker does not answer ({type(error).__name__})") from error
    finally:
        member.requests -= 1
    _read_notes(answer, member, request)
    return _returned(answer, content)


def _outgoing(request: Request, body: bytes, path: bytes) -> httpx.Request:
    headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1") not in NOT_FORWARDED]
    url = httpx.URL("http://worker").copy_with(raw_path=path)
    return httpx.Request(request.method, url, headers=headers, content=body or None, extensions={"timeout": TIMEOUT})


def _read_notes(answer: httpx.Response, member: Member, request: Request) -> None:
    request.scope[ANSWERED_BY] = answer.headers.get(ROUTE_NOTE)
    if (taken := answer.headers.get(TAKEN_NOTE, "")).isdecimal():
        member.note_taken(int(taken))


def _returned(answer: httpx.Response, content: bytes) -> Response:
    response = Response(content, answer.status_code)
    own = [pair for pair in response.raw_headers if pair[0] == b"content-length"]
    kept = [(n.lower(), value) for n, value in answer.headers.raw if n.lower().decode("latin-1") not in NOT_RETURNED]
    response.raw_headers = own + kept
    return response
