"""Queries of single pipelines (latency.source Query): apart from the batch, so that a slow one delays nobody.

Each pipeline has at most one query under way. A tick waits a moment for the answers, which is plenty for a healthy
server, and goes on without those that are late: their pipelines are told so, and get the answer in the next tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.core.scaling import Problem, ProblemKind
from mediapipeline_operator.core.scaling.signals import Answer

MOST_QUERIES = 200
PARALLEL = 8
PATIENCE_SECONDS = 1.0  # of a tick
ANSWER_SECONDS = 20.0  # how long an answer that came too late for its tick may be used

Ask = Callable[[str], Answer]
TOO_MANY = f"more than {MOST_QUERIES} pipelines have a query of their own; this one is not asked"
LATE = "the query of this pipeline has not been answered yet"


@dataclass(frozen=True, slots=True)
class _Running:
    promql: str
    future: Future[tuple[Answer, float]]


@dataclass(frozen=True, slots=True)
class _Known:
    promql: str
    answer: Answer
    at: float  # monotonic seconds


class OwnQueries:
    """`ask` runs in threads of our own and must be bounded in time; `monotonic` gives seconds."""

    def __init__(self, ask: Ask, monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._executor = ThreadPoolExecutor(PARALLEL, thread_name_prefix="own-query")
        self._running: dict[Key, _Running] = {}
        self._known: dict[Key, _Known] = {}

    async def answers(self, wanted: Mapping[Key, str]) -> dict[Key, Answer]:
        """The answer to each pipeline's query, or a Problem. Returns within PATIENCE_SECONDS."""
        chosen = {key: wanted[key] for key in sorted(wanted)[:MOST_QUERIES]}
        self._forget(chosen)
        for key, promql in chosen.items():
            self._start(key, promql)
        if self._running:
            waiting = [running.future for running in self._running.values()]
            await asyncio.to_thread(wait, waiting, timeout=PATIENCE_SECONDS)
        self._collect()
        refused = dict.fromkeys(wanted.keys() - chosen.keys(), Problem(ProblemKind.TOO_MANY, TOO_MANY))
        return {key: self._answer(key) for key in chosen} | refused

    def close(self) -> None:
        """Ends the threads after their current request."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: Key, promql: str) -> None:
        running = self._running.get(key)
        if running is None:
            self._running[key] = _Running(promql, self._executor.submit(self._timed, promql))

    def _timed(self, promql: str) -> tuple[Answer, float]:
        asked = self._monotonic()
        return self._ask(promql), asked

    def _collect(self) -> None:
        for key, running in list(self._running.items()):
            if running.future.done():
                del self._running[key]
                answer, asked = running.future.result()
                self._known[key] = _Known(running.promql, answer, asked)

    def _answer(self, key: Key) -> Answer:
        known = self._known.get(key)
        if known is None or self._monotonic() - known.at > ANSWER_SECONDS:
            return Problem(ProblemKind.TIMEOUT, LATE)
        return known.answer

    def _forget(self, chosen: Mapping[Key, str]) -> None:
        """Answers to a query that was changed or removed are answers to another question."""
        self._known = {key: known for key, known in self._known.items() if chosen.get(key) == known.promql}
        changed = [key for key, running in self._running.items() if chosen.get(key) != running.promql]
        for key in changed:
            self._running.pop(key).future.cancel()
