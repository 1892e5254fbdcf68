"""A server that answers Prometheus queries as a test wants."""

import asyncio
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def prometheus(answer):
    """A server whose /api/v1/query calls `answer(query, request)`; yields its URL and the queries it was asked."""
    asked = []

    async def handle(request):
        asked.append(request.query["query"])
        response = answer(request.query["query"], request)
        return await response if asyncio.iscoroutine(response) else response

    app = web.Application()
    app.router.add_get("/api/v1/query", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", asked
    finally:
        await runner.cleanup()
