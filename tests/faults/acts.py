"""What the proxy does to a request instead of passing it on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from faults.proxy import Exchange

_HELD_SECONDS = 300.0
Act = Callable[["Exchange"], Awaitable[web.StreamResponse]]


class Gate:
    """Holds requests until it is opened. `on_arrival` is called for the first one, before it is told as arrived."""

    def __init__(self, on_arrival: Callable[[], None] = lambda: None) -> None:
        self.arrived = threading.Event()
        self._open = threading.Event()
        self._on_arrival = on_arrival

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        """Returns when the gate is open. Raises TimeoutError rather than let anything through on its own."""
        if not self.arrived.is_set():
            self._on_arrival()
        self.arrived.set()
        async with asyncio.timeout(_HELD_SECONDS):
            while not self._open.is_set():  # noqa: ASYNC110  opened from another thread
                await asyncio.sleep(0.01)


def answer(status: int, message: str = "injected", retry_after_seconds: int | None = None) -> Act:
    """An error answer in the API server's place."""
    headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}
    reason = {401: "Unauthorized", 403: "Forbidden", 409: "Conflict", 410: "Expired", 429: "TooManyRequests"}
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}

    async def act(exchange: Exchange) -> web.StreamResponse:
        return web.json_response(
            {**body, "reason": reason.get(status, "InternalError")}, status=status, headers=headers
        )

    return act


def login_page() -> Act:
    """What a load balancer or a proxy in between says with status 200: no JSON at all."""

    async def act(exchange: Exchange) -> web.StreamResponse:
        return web.Response(text="<html><body>Please log in.</body></html>", content_type="text/html")

    return act


def expired_event() -> Act:
    """A watch that says at once that its resourceVersion is too old, as the API server does."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
    line = json.dumps({"type": "ERROR", "object": {**status, "message": "too old resource version"}}) + "\n"

    async def act(exchange: Exchange) -> web.StreamResponse:
        return web.Response(text=line, content_type="application/json")

    return act


def lost_answer() -> Act:
    """The request is carried out; the connection breaks before the answer."""

    async def act(exchange: Exchange) -> web.StreamResponse:
        await exchange.forward()
        return exchange.hang_up()

    return act


def late_answer(seconds: float) -> Act:
    """The request is carried out; the answer comes when nobody waits for it any more."""

    async def act(exchange: Exchange) -> web.StreamResponse:
        found = await exchange.forward()
        await asyncio.sleep(seconds)
        return found

    return act


def held(gate: Gate) -> Act:
    """The request reaches the API server only when the gate opens, whether its sender still waits or not."""

    async def act(exchange: Exchange) -> web.StreamResponse:
        await gate.passed()
        return await exchange.forward()

    return act


def then(callback: Callable[[], None]) -> Act:
    """The request is carried out, `callback` runs, nobody gets an answer."""

    async def act(exchange: Exchange) -> web.StreamResponse:
        await exchange.forward()
        callback()
        return exchange.hang_up()

    return act


def stale(version: str) -> Act:
    """Reads show the cluster as it was at a resource version."""

    async def act(exchange: Exchange) -> web.StreamResponse:
        name = exchange.call.name
        if name:
            exchange.path = exchange.path.removesuffix(f"/{name}")
            exchange.query = {"fieldSelector": f"metadata.name={name}"}
        if not exchange.query.get("continue"):
            exchange.query |= {"resourceVersion": version, "resourceVersionMatch": "Exact"}
        found = await exchange.forward()
        if not name or not isinstance(found, web.Response) or found.status != 200:
            return found
        items = json.loads(found.body).get("items")  # type: ignore[arg-type]
        return web.json_response(items[0]) if items else await answer(404)(exchange)

    return act
