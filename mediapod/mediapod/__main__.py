"""`python -m mediapod`: reads the environment, serves until SIGTERM, drains, exits."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import NoReturn

import structlog
import uvloop

from mediapod.api.server import PortTaken
from mediapod.engine import InvalidStages
from mediapod.observability.logs import configure_logs
from mediapod.rtc.compat import IncompatibleAiortc
from mediapod.service import Mediapod
from mediapod.settings import InvalidSettings, Settings, load_settings

log = structlog.get_logger("mediapod")

EXIT_FAILED, EXIT_BAD_SETTINGS = 1, 2


def main() -> int:
    """Run a mediapod; returns the exit code: 0 after SIGTERM, 1 when it could not run, 2 for a wrong setting."""
    try:
        settings = load_settings()
    except InvalidSettings as error:
        return _refuse(str(error), EXIT_BAD_SETTINGS)
    configure_logs(settings.log_level, settings.log_format)
    context = {"pod": settings.pod_name, "pipeline": settings.pipeline, "node": settings.node_name}
    structlog.contextvars.bind_contextvars(**{key: value for key, value in context.items() if value})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    try:
        mediapod = Mediapod(settings)
    except InvalidStages as error:
        return _refuse(f"MEDIAPOD_STAGES: {_describe(error)}", EXIT_BAD_SETTINGS)
    except PortTaken as error:
        return _refuse(str(error), EXIT_FAILED)
    stopping = _stop_signal()
    try:
        await mediapod.start()
        await stopping.wait()
        await mediapod.drain()
    except (IncompatibleAiortc, RuntimeError, OSError) as error:
        return _refuse(f"cannot start: {error}", EXIT_FAILED)
    finally:
        await mediapod.stop()
    log.info("mediapod stopped")
    return 0


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _describe(error: InvalidStages) -> str:
    return "; ".join(f"{e['field']}: {e['message']} (allowed: {', '.join(e['allowed'])})" for e in error.errors)


def _leave(code: int) -> NoReturn:
    """End the process now. Everything is stopped; Python's own way out would spend a second or two on taking its
    modules apart, which a pod's grace period is not for.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _refuse(message: str, code: int) -> int:
    sys.stderr.write(f"mediapod: {message}\n")
    return code


if __name__ == "__main__":
    _leave(main())
