"""A server that answers Prometheus queries as a test wants."""

import asyncio
from contextlib import asynccontextmanager

from aiohttp import web

TURNS = 5


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
    listening = site._server.sockets[0]
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        await _shut(runner, listening)


async def _shut(runner, listening):
    """End the server and every connection. Clients in threads may have given up on answers that nobody reads now, or
    connect at this moment: accepting takes a few turns of the loop, and asyncio forgets a socket whose server was
    closed in between.
    """
    asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    server = runner.server
    transports = {handler.transport for handler in server.connections if handler.transport is not None}
    await runner.cleanup()
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)  # a turn for the sockets to be closed
