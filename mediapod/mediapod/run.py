"""What the entry points of all processes share: settings, logs, signals, the event loop and exit codes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol

import structlog
import uvloop

from mediapod.api.server import PortTaken
from mediapod.observability.logs import configure_logs
from mediapod.settings import InvalidSettings, Settings, load_settings

log = structlog.get_logger("mediapod")

EXIT_FAILED, EXIT_BAD_SETTINGS = 1, 2
CANCEL_SECONDS = 1.0

Serve = Callable[[Settings, asyncio.Event], Awaitable[int]]


class CannotRun(Exception):  # noqa: N818  says what is the case
    """The process cannot run. The message is for people, empty when they were told already; code: to exit with."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Pod(Protocol):
    """What a process runs: the whole mediapod, its front, or one of its parts."""

    async def start(self) -> None:
        """Serve, and be ready."""

    async def drain(self) -> None:
        """Take nothing new; return when nothing is left or the grace period is nearly over."""

    async def stop(self) -> None:
        """End everything. Safe after a failed start."""


def run(serve: Serve, **context: str) -> int:
    """Read the settings and run `serve` until it returns the exit code; its event is set by SIGTERM and SIGINT.

    context: what each line of the log says besides. Returns 2 for a wrong setting.
    """
    try:
        settings = load_settings()
    except InvalidSettings as error:
        return refuse(str(error), EXIT_BAD_SETTINGS)
    configure_logs(settings.log_level, settings.log_format)
    context = {"pod": settings.pod_name, "pipeline": settings.pipeline, "node": settings.node_name} | context
    structlog.contextvars.bind_contextvars(**{key: value for key, value in context.items() if value})

    async def served() -> int:
        return await serve(settings, _stop_signal())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(served())


async def serve(build: Callable[[], Pod], stopping: asyncio.Event) -> int:
    """Build, start, wait for `stopping`, drain and stop; returns the exit code."""
    try:
        pod = build()
    except CannotRun as error:
        return refuse(str(error), error.code)
    except PortTaken as error:
        return refuse(str(error), EXIT_FAILED)
    try:
        if await _started(pod, stopping):
            _set_aside_what_stays()
            await stopping.wait()
            await pod.drain()
    except CannotRun as error:
        return refuse(str(error), error.code)
    except (RuntimeError, OSError) as error:
        return refuse(f"cannot start: {error}", EXIT_FAILED)
    finally:
        await pod.stop()
    log.info("mediapod stopped")
    return 0


async def _started(pod: Pod, stopping: asyncio.Event) -> bool:
    """Whether the start came to its end before `stopping`. Raises what it raises."""
    starting, stopped = asyncio.ensure_future(pod.start()), asyncio.ensure_future(stopping.wait())
    await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting], timeout=CANCEL_SECONDS)
        return False
    await starting
    return True


def _set_aside_what_stays() -> None:
    """Modules and whatever else was made at the start live as long as the process. Looking through them for garbage
    takes 100 ms with the interpreter's lock held, and the more there is of them, the rarer Python looks at all.
    """
    gc.collect()
    gc.freeze()


def refuse(message: str, code: int) -> int:
    """Say why the process cannot run; returns the exit code."""
    if message:
        sys.stderr.write(f"mediapod: {message}\n")
    return code


def leave(code: int) -> NoReturn:
    """End the process now. Everything is stopped; Python's own way out would spend a second or two on taking its
    modules apart, which a pod's grace period is not for.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping
