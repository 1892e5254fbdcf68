"""The work queue: each key at most once in it and in one worker at a time, delays, a back-off of its own for each key,
and whoever yields lets others pass.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable

import structlog

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.shell.backoff import Backoff
from mediapipeline_operator.shell.clock import Clock

_PASS_SECONDS = 60.0  # no pass takes longer: each of its requests has a time-out
_IDLE_SECONDS = 3600.0
_TURN_SECONDS = 0.002  # of passes in a row of each worker, until everything else on the event loop has its turn

log = structlog.get_logger(__name__)


class PassIncompleteError(Exception):
    """A pass that ended in an orderly way but has to be repeated soon; `detail` says what is open."""

    def __init__(self, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class WorkQueue:
    """`work` returns after how many seconds the key is due again (None: not by itself), or raises to be called
    again.
    """

    def __init__(
        self, work: Callable[[Key], Awaitable[float | None]], workers: int, clock: Clock, metrics: Metrics
    ) -> None:
        self._work = work
        self._workers = workers
        self._clock = clock
        self._metrics = metrics
        self._succeeded = metrics.reconciles.labels("ok")
        self._due: dict[Key, float] = {}  # when each waiting key is due; the heap may hold older entries
        self._heap: list[tuple[float, Key]] = []
        # Bounded by the number of keys: each is in it once, and once more each time its turn was advanced.
        self._ready: asyncio.PriorityQueue[tuple[float, Key]] = asyncio.PriorityQueue()
        self._queued: dict[Key, float] = {}
        self._turns: dict[Key, float] = {}  # of the queued keys; the lowest is next
        self._yields: dict[Key, float] = {}  # seconds, of the waiting keys that no change has made due
        self._urgent: set[Key] = set()  # queued keys that something has changed for
        self._running: dict[Key, float] = {}
        self._again: dict[Key, float] = {}
        self._backoffs: dict[Key, Backoff] = {}
        self._not_before: dict[Key, float] = {}  # what the API server has asked for
        self._changed = asyncio.Event()
        self._turn_ends = 0.0  # monotonic

    def add(self, key: Key, delay_seconds: float = 0.0, *, yields_seconds: float = 0.0) -> None:
        """Makes the key due; an earlier time wins over a later one, but for what the API server has asked for.

        `yields_seconds`: nothing has changed, and what becomes due up to so much later goes first. Such passes come by
        the thousand.
        """
        due = max(self._clock.monotonic() + delay_seconds, self._not_before.get(key, 0.0))
        if key in self._queued:
            self._advance(key, yields_seconds)
            return
        book = self._again if key in self._running else self._due
        known = self._yields.get(key, 0.0) if key in book else yields_seconds
        self._let_pass(key, min(known, yields_seconds))
        if due < book.get(key, float("inf")):
            book[key] = due
            if book is self._due:
                heapq.heappush(self._heap, (due, key))
                self._changed.set()

    def _let_pass(self, key: Key, seconds: float) -> None:
        if seconds > 0:
            self._yields[key] = seconds
        else:
            self._yields.pop(key, None)

    def _advance(self, key: Key, yields_seconds: float) -> None:
        """A queued key may have its turn sooner; its older entry is then void."""
        if yields_seconds < self._yields.get(key, 0.0):
            self._let_pass(key, yields_seconds)
            self._enqueue(key, min(self._turns[key], self._clock.monotonic() + yields_seconds))

    def _enqueue(self, key: Key, turn: float) -> None:
        self._turns[key] = turn
        if key not in self._yields:
            self._urgent.add(key)
        self._ready.put_nowait((turn, key))

    @property
    def depth(self) -> int:
        """Keys that are due and wait for a worker."""
        return len(self._queued)

    @property
    def crowded(self) -> bool:
        """Whether more changes wait than the workers take at a time."""
        return len(self._urgent) > self._workers

    def stuck_seconds(self) -> float:
        """For how long the longest pass has been running, or a due key has been waiting."""
        now = self._clock.monotonic()
        started = (*self._running.values(), *self._queued.values())
        return max((now - at for at in started), default=0.0)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatch(), name="queue-dispatch")
            for number in range(self._workers):
                group.create_task(self._worker(), name=f"queue-worker-{number}")

    async def _dispatch(self) -> None:
        while True:
            self._changed.clear()
            wait = self._release_due()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _release_due(self) -> float:
        """Hands over what is due. Returns the seconds until the next key is."""
        now = self._clock.monotonic()
        while self._heap:
            due, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)  # superseded
            elif due <= now:
                heapq.heappop(self._heap)
                del self._due[key]
                self._queued[key] = due
                self._enqueue(key, due + self._yields.get(key, 0.0))
            else:
                return due - now
            self._metrics.queue_depth.set(len(self._queued))
        return _IDLE_SECONDS

    async def _worker(self) -> None:
        while True:
            turn, key = await self._ready.get()
            if self._turns.get(key) != turn:
                continue
            due = self._taken(key)
            self._running[key] = self._clock.monotonic()
            self._metrics.queue_age_seconds.observe(max(0.0, self._running[key] - due))
            try:
                await self._pass(key)
            finally:
                self._finish(key)
            await self._let_others()

    async def _let_others(self) -> None:
        """A pass that finds nothing to do never waits: without this, thousands of them in a row would keep the Lease
        from being renewed. A turn of the event loop for each of them is a tenth of their time.
        """
        if self._clock.monotonic() >= self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = self._clock.monotonic() + _TURN_SECONDS

    def _taken(self, key: Key) -> float:
        """Out of the books of those who wait. Returns since when it was due."""
        del self._turns[key]
        self._yields.pop(key, None)
        self._urgent.discard(key)
        due = self._queued.pop(key)
        self._metrics.queue_depth.set(len(self._queued))
        return due

    def _finish(self, key: Key) -> None:
        started = self._running.pop(key)
        self._metrics.reconcile_seconds.observe(self._clock.monotonic() - started)
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, again - self._clock.monotonic(), yields_seconds=self._yields.get(key, 0.0))

    async def _pass(self, key: Key) -> None:
        try:
            async with asyncio.timeout(_PASS_SECONDS):
                requeue_after = await self._work(key)
        except PassIncompleteError as incomplete:
            self._retry(key, "incomplete", str(incomplete), incomplete.retry_after_seconds)
        except Exception as error:
            log.exception("pass_failed", pipeline=str(key))
            self._retry(key, "error", repr(error), None)
        else:
            self._backoffs.pop(key, None)
            self._not_before.pop(key, None)
            self._succeeded.inc()
            if requeue_after is not None:
                self._again[key] = min(self._again.get(key, float("inf")), self._clock.monotonic() + requeue_after)

    def _retry(self, key: Key, result: str, detail: str, retry_after_seconds: float | None) -> None:
        self._metrics.reconciles.labels(result).inc()
        backoff = self._backoffs.setdefault(key, Backoff())
        asked = retry_after_seconds or 0.0
        self._not_before[key] = self._clock.monotonic() + asked
        delay = max(backoff.next_seconds(), asked)
        # What changed meanwhile does not shorten the back-off: it is not what failed.
        self._again[key] = self._clock.monotonic() + delay
        log.info("pass_repeated", pipeline=str(key), detail=detail, retry_seconds=round(delay, 2))
