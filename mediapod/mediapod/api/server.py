"""Runs an ASGI application on a listening socket, without taking over the process' signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 3
BACKLOG = 256
STOP_SECONDS = 6.0


class PortTaken(OSError):  # noqa: N818  says what happened, as FileExistsError would without its suffix
    """A port cannot be listened on; the message names the setting."""


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # SIGTERM means drain here; the mediapod handles it


class HttpServer:
    """Serves on one listening socket: `start` serves, `stop` ends it gracefully and closes the socket.

    port: 0 for a Unix socket.
    """

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        self.port: int = 0 if listening.family == socket.AF_UNIX else listening.getsockname()[1]
        self._server: _QuietServer | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, app: ASGIApp) -> None:
        """Serve `app` until `stop`."""
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        self._server = _QuietServer(config)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._server.serve(sockets=[self._socket]), name=f"mediapod-http-{self.port}")

    async def stop(self) -> None:
        """Stop serving; bounded in time."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
        self._socket.close()


def listen(address: str, port: int, setting: str) -> socket.socket:
    """A socket that listens on a TCP port; 0: any free one. Raises PortTaken, naming the `setting`."""
    listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise PortTaken(f"cannot listen on {address} port {port}: {error.strerror}; set {setting}") from error
    listening.setblocking(False)
    return listening
