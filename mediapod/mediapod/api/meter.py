"""Counts and times HTTP requests by route."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from mediapod.observability.metrics import Metrics

UNMEASURED = frozenset(
    {"/healthz", "/readyz", "/startupz", "/metrics", "/slots"}
)  # machines asking; they would hide what users see
ANSWERED_BY = "mediapod.route"  # in the scope: the route in another process that answered


class RequestMeter:
    """ASGI middleware that counts and times requests by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in UNMEASURED:
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            self._metrics.request(scope.get(ANSWERED_BY) or route_of(scope), time.monotonic() - started)


def route_of(scope: Scope) -> str:
    """The route that a request has taken, never a raw path: there are unboundedly many."""
    return getattr(scope.get("route"), "path", "other")
