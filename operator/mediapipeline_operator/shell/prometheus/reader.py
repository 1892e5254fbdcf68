"""PrometheusReader: one batch of queries for all pipelines, in bounded time, never raising."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_api_client import PrometheusConnect
from urllib3.util.retry import Retry

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.promql import query_errors
from mediapipeline_operator.core.scaling import Problem, ProblemKind, Signals
from mediapipeline_operator.core.scaling.queries import Query, batch
from mediapipeline_operator.core.scaling.signals import Answer, interpret, with_own_query
from mediapipeline_operator.shell.prometheus.answers import to_samples
from mediapipeline_operator.shell.prometheus.breaker import Breaker, Gate
from mediapipeline_operator.shell.prometheus.errors import is_transport, to_problem
from mediapipeline_operator.shell.prometheus.own_queries import OwnQueries
from mediapipeline_operator.shell.prometheus.session import BoundedSession

NOT_CONFIGURED = "no Prometheus is configured: set --prometheus-url"


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """Where Prometheus is, and how long and how much is waited for. All of it is the operator's, never a tenant's."""

    url: str = ""
    token_file: str = ""
    ca_file: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 3.0  # to connect, and to wait for the first and each next byte
    batch_seconds: float = 8.0  # for all queries together
    max_bytes: int = 64 * 1024 * 1024  # of one answer; 2,000 pipelines of 10 pods make about 5 MB
    parallel: int = 4  # queries at a time


class PrometheusReader:
    """Reads the Signals of all pipelines. Use `close` when done."""

    def __init__(self, settings: ReaderSettings) -> None:
        self._settings = settings
        self._executor = ThreadPoolExecutor(settings.parallel, thread_name_prefix="prometheus")
        self._breaker = Breaker(time.monotonic)
        self._client = connect(settings) if settings.url else None
        self._lock = asyncio.Lock()
        self._own = OwnQueries(self._ask_own, time.monotonic)

    async def read(self, pipelines: Sequence[tuple[Key, MediaPipelineSpec]]) -> Mapping[Key, Signals]:
        """Signals by pipeline. Errors become Signals with a problem. One batch at a time, of at most batch_seconds."""
        queries = batch(spec for _, spec in pipelines)
        own = {key: spec.autoscaling.latency.query for key, spec in pipelines if _has_own_query(key, spec)}
        async with self._lock:
            answers, own_answers = await asyncio.gather(self._answers(queries), self._own.answers(own))
        taken = datetime.now(UTC)
        # In a thread: with thousands of pipelines it takes a second, in which the Lease has to be renewed.
        found = await asyncio.to_thread(interpret, pipelines, answers, taken)
        return found | {key: with_own_query(found[key], answer) for key, answer in own_answers.items()}

    def close(self) -> None:
        """Ends the threads after their current request."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._own.close()
        if self._client is not None:
            self._client.close()

    async def _answers(self, queries: Sequence[Query]) -> dict[Query, Answer]:
        if not queries:
            return {}
        if self._client is None:
            return dict.fromkeys(queries, Problem(ProblemKind.NOT_CONFIGURED, NOT_CONFIGURED))
        run = _Batch(self._client, self._settings.url)
        try:
            async with asyncio.timeout(self._settings.batch_seconds):
                answers = await self._gated(run, queries)
        except TimeoutError:
            run.stop(
                Problem(ProblemKind.TIMEOUT, f"Prometheus at {self._settings.url} did not answer the batch in time")
            )
            answers = {query: run.stopped for query in queries if run.stopped is not None}
        self._judge(answers, run)
        return answers

    async def _gated(self, run: _Batch, queries: Sequence[Query]) -> dict[Query, Answer]:
        gate = self._breaker.gate()
        if gate is Gate.OPEN:
            run.skipped = True
            text = f"Prometheus at {self._settings.url} has failed repeatedly; it is asked again in a moment"
            return dict.fromkeys(queries, Problem(ProblemKind.DOWN, text))
        if gate is Gate.HALF_OPEN:
            probe = await self._in_thread(run, queries[0])
            if isinstance(probe, Problem):
                return dict.fromkeys(queries, probe)
        answers = await asyncio.gather(*(self._in_thread(run, query) for query in queries))
        return dict(zip(queries, answers, strict=True))

    def _ask_own(self, promql: str) -> Answer:
        """One pipeline's own query, in a thread. Not while the server is known to be gone."""
        if self._client is None:
            return Problem(ProblemKind.NOT_CONFIGURED, NOT_CONFIGURED)
        if self._breaker.gate() is not Gate.CLOSED:
            return Problem(ProblemKind.DOWN, f"Prometheus at {self._settings.url} has failed repeatedly")
        return _Batch(self._client, self._settings.url).ask(promql)

    async def _in_thread(self, run: _Batch, query: Query) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._executor, run.ask, query.promql)

    def _judge(self, answers: Mapping[Query, Answer], run: _Batch) -> None:
        """One bad query does not open the breaker; a server that is gone does."""
        if run.skipped:
            return
        broken = any(isinstance(answer, Problem) and is_transport(answer) for answer in answers.values())
        if broken:
            self._breaker.failed()
        else:
            self._breaker.succeeded()


class _Batch:
    """The queries of one tick. Once the server is found gone, the rest of them are not even tried."""

    def __init__(self, client: PrometheusConnect, url: str) -> None:
        self._client = client
        self._url = url
        self.stopped: Problem | None = None
        self.skipped = False

    def stop(self, problem: Problem) -> None:
        self.stopped = problem

    def ask(self, promql: str) -> Answer:
        """Runs in a thread. Every error of requests, of JSON and of the client library ends here."""
        if self.stopped is not None:
            return self.stopped
        try:
            return to_samples(self._client.custom_query(promql))
        except Exception as error:  # noqa: BLE001  a library may raise anything; the tick of other pipelines goes on
            problem = to_problem(error, self._url)
            if is_transport(problem):
                self.stop(problem)
            return problem


def _has_own_query(key: Key, spec: MediaPipelineSpec) -> bool:
    """A query that looks beyond its namespace is never asked, whatever else becomes of the pipeline."""
    query = spec.autoscaling.latency.query
    return bool(query) and not any(query_errors(query, key.namespace))


def connect(settings: ReaderSettings) -> PrometheusConnect:
    """A client whose answers are bounded in size and time."""
    session = BoundedSession(
        max_bytes=settings.max_bytes,
        max_seconds=2 * settings.timeout_seconds,
        token_file=settings.token_file,
        ca_file=settings.ca_file,
    )
    return PrometheusConnect(
        url=settings.url.rstrip("/"),
        headers=dict(settings.headers),
        session=session,
        retry=Retry(total=0, read=False),  # the next tick is the retry
        timeout=settings.timeout_seconds,
    )
