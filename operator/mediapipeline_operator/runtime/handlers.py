"""kopf watches the MediaPipelines, and does nothing else: each event goes to our own books, keys to our own queue.

kopf ends its operator for a single 403, a deleted CRD or a broken watch, and when it ends it cancels every task of its
event loop. So it has a loop and a thread of its own, and is started again, with a jittered back-off, for as long as
this process runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import kopf
import structlog

from mediapipeline_operator.api import labels
from mediapipeline_operator.runtime.kopf_session import session
from mediapipeline_operator.shell.backoff import Backoff, jittered
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.credentials import Credentials

OnEvent = Callable[[str | None, dict[str, Any]], None]  # kind of event (None: listed), the resource
_STOP_SECONDS = 10.0
_HEALTHY_SECONDS = 60.0
_LOGIN_SECONDS = 1.0
_FEW_BACKOFFS = (0.5, 1.0)

log = structlog.get_logger(__name__)


class _EndlessBackoffs:
    """Delays that never run out: kopf iterates them anew for each request."""

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield jittered(delay, 0.5)
            delay = min(30.0, delay * 2)


class PipelineWatch:
    """Runs kopf. `on_event` and `listed` are called in the loop that called `run`."""

    def __init__(
        self,
        credentials: Credentials,
        namespaces: Sequence[str],
        on_event: OnEvent,
        listed: Callable[[str | None], Coroutine[Any, Any, str]],
        clock: Clock,
    ) -> None:
        self._credentials = credentials
        self._namespaces = tuple(namespaces)
        self._on_event = on_event
        self._listed = listed
        self._clock = clock
        self._login_after = 0.0

    async def run(self) -> None:
        """Until cancelled; then kopf is stopped before this returns."""
        backoff = Backoff(first_seconds=1.0)
        while True:
            started = self._clock.monotonic()
            await self._run_once()
            if self._clock.monotonic() - started > _HEALTHY_SECONDS:
                backoff.reset()
            delay = backoff.next_seconds()
            log.warning("watch_ended", kind=labels.KIND, restart_seconds=round(delay, 1))
            await asyncio.sleep(delay)

    async def _run_once(self) -> None:
        ours, theirs = asyncio.get_running_loop(), asyncio.new_event_loop()
        # Not a threading.Event: kopf would wait for it in a thread, which then keeps a failed kopf from ending.
        stop, ended = asyncio.Event(), asyncio.Event()

        def body() -> None:
            try:
                theirs.set_exception_handler(_task_failed)
                with asyncio.Runner(loop_factory=lambda: theirs) as runner:
                    runner.run(self._operator(ours, stop))
            except Exception as error:  # noqa: BLE001  whatever ends kopf, it is started again
                log.warning("watch_failed", kind=labels.KIND, error=repr(error))
            finally:
                ours.call_soon_threadsafe(ended.set)

        threading.Thread(target=body, name="kopf", daemon=True).start()
        try:
            await ended.wait()
        finally:
            with contextlib.suppress(RuntimeError):  # it has ended, its loop is closed
                theirs.call_soon_threadsafe(stop.set)
            await self._ended_in_time(ended)

    async def _ended_in_time(self, ended: asyncio.Event) -> None:
        """A thread that does not end is left behind: it is a daemon, and only reads."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await ended.wait()
        except TimeoutError:
            log.warning("watch_did_not_stop", kind=labels.KIND, seconds=_STOP_SECONDS)

    async def _operator(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        await kopf.operator(
            registry=self._registry(loop),
            settings=_settings(everywhere=not self._namespaces),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
        )

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def listed(namespace: str | None) -> str:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._listed(namespace), loop))

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            """A refused token makes kopf ask again, and so the rotated one is read; not in a hurry."""
            await self._not_too_often()
            return kopf.AiohttpSession(
                server=self._credentials.server, aiohttp_session=session(self._credentials, listed)
            )

        @kopf.on.event(labels.GROUP, labels.VERSION, labels.PLURAL, registry=registry)
        async def seen(event: kopf.RawEvent, **_: Any) -> None:
            loop.call_soon_threadsafe(self._on_event, event["type"], dict(event["object"]))

        return registry

    async def _not_too_often(self) -> None:
        wait = self._login_after - self._clock.monotonic()
        self._login_after = self._clock.monotonic() + max(0.0, wait) + _LOGIN_SECONDS
        await asyncio.sleep(max(0.0, wait))


def _task_failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A task of kopf's that failed after kopf had ended: one line, no trace."""
    log.info("watch_task_failed", kind=labels.KIND, error=repr(context.get("exception") or context.get("message")))


def _settings(*, everywhere: bool) -> kopf.OperatorSettings:
    """Scanning stays on: it is how kopf notices that the CRD comes (back)."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    # With Roles in some namespaces alone kopf is refused the list of namespaces, and goes on without it only when it
    # has given up. What else it gives up on then, its supervisor tries again.
    settings.networking.error_backoffs = _EndlessBackoffs() if everywhere else _FEW_BACKOFFS
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.inactivity_timeout = 90
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 1  # of a list that is not read: see kopf_session
    # Each resource that was seen keeps a task for so long; the handler only hands over, so it is never busy.
    settings.queueing.idle_timeout = 0.5
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = None
    return settings
