"""What a media worker tells the front with each answer: the route that was taken, and how many sessions it has now."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mediapod.api.meter import route_of

ROUTE_NOTE, TAKEN_NOTE = "x-mediapod-route", "x-mediapod-taken"
NOTES = frozenset({ROUTE_NOTE, TAKEN_NOTE})


class WorkerNotes:
    """ASGI middleware that adds the notes as headers; the front reads and removes them. taken: sessions now."""

    def __init__(self, app: ASGIApp, taken: Callable[[], int]) -> None:
        self._app, self._taken = app, taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                notes = [(ROUTE_NOTE, route_of(scope)), (TAKEN_NOTE, str(self._taken()))]
                message["headers"] = [*message["headers"], *((name.encode(), note.encode()) for name, note in notes)]
            await send(message)

        await self._app(scope, receive, noting)
