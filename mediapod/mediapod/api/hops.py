"""Requests on their way to another process or pod, and the answers that come back."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from mediapod.placement import Answer, Hop
from mediapod.placement.forwarding import NO_ROOM_STATUS, ROOM_HEADER

FORWARDED_HEADERS = ("authorization", "content-type", "accept", "if-match")


def hop_of(request: Request, body: bytes) -> Hop:
    """The request in the form in which another pod gets it."""
    headers = {name: request.headers[name] for name in FORWARDED_HEADERS if name in request.headers}
    return Hop(request.method, request.url.path, headers, body)


def as_response(answer: Answer) -> Response:
    """What another pod answered, as our response."""
    response = Response(answer.body, answer.status)
    for name, value in answer.headers:
        response.headers.append(name, value)
    return response


def asks_for_room(request: Request) -> bool:
    """Whether another pod has handed this offer on only because it believes that there is room here."""
    return ROOM_HEADER in request.headers


def no_room() -> Response:
    """The answer to that when there is none any more."""
    return Response(status_code=NO_ROOM_STATUS)
