"""HTTP for the kubelet and Prometheus: /healthz (alive and moving), /readyz (caches filled), /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

Check = Callable[[], list[str]]  # what is wrong; empty: nothing
Facts = Callable[[], Mapping[str, object]]  # more to tell in the answer


class HealthServer:
    """Serves until `close`. Answers 200 or 503 with {"status", "reasons"}, /healthz also with `progress`."""

    def __init__(self, alive: Check, ready: Check, progress: Facts, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self._app = web.Application()
        self._app.router.add_get("/healthz", _checked(alive, progress))
        self._app.router.add_get("/readyz", _checked(ready, dict))
        self._app.router.add_get("/metrics", self._metrics)

    async def start(self, address: str | None, port: int) -> None:
        """Listens. Raises OSError when the port is taken."""
        self._runner = web.AppRunner(self._app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        """All metrics, or with `?name[]=...` only those of these names."""
        names = request.query.getall("name[]", [])
        wanted = self._registry.restricted_registry(names) if names else self._registry
        body = await asyncio.to_thread(generate_latest, wanted)  # thousands of pipelines: a second and more
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _checked(check: Check, facts: Facts) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        reasons = check()
        body = {"status": "unavailable" if reasons else "ok", "reasons": reasons, **facts()}
        return web.json_response(body, status=503 if reasons else 200)

    return answer
