"""Queries of single pipelines: bounded in number, time and effect on others."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling import Problem, ProblemKind
from mediapipeline_operator.core.scaling.signals import Sample
from mediapipeline_operator.shell.prometheus import PrometheusReader, ReaderSettings, own_queries
from mediapipeline_operator.shell.prometheus.own_queries import OwnQueries
from unit.prometheus_server import prometheus

KEY = Key("media", "studio")
HELD_SECONDS = 120  # by a query that the test lets go: nobody waits for so long, on however busy a machine
UNHURRIED = {"timeout_seconds": 60.0, "batch_seconds": 120.0}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Whoever may answer has the time to; `patience(0.1)` where somebody does not."""

    def give(seconds):
        monkeypatch.setattr(own_queries, "PATIENCE_SECONDS", seconds)

    give(60.0)
    return give


@contextlib.contextmanager
def asking(ask, monotonic=lambda: 0.0) -> Iterator[OwnQueries]:
    """Queries whose threads end with the block; their answers do not age by themselves."""
    own = OwnQueries(ask, monotonic)
    try:
        yield own
    finally:
        own.close()


def spec(**latency):
    scaling = {"autoscaling": {"latency": latency}} if latency else {}
    return MediaPipelineSpec.model_validate(
        {"pipeline": {"stages": [{"name": "a", "effect": "GaussianBlur"}]}, **scaling}
    )


def by_query(text='max(own_p95{namespace="media"})'):
    return spec(source="Query", query=text)


def keys(count):
    return [Key("media", f"p{index:04}") for index in range(count)]


async def test_answers_come_back_by_pipeline():
    with asking(lambda promql: [Sample(float(promql))]) as own:
        found = await own.answers({key: str(index) for index, key in enumerate(keys(3))})
    assert [found[key][0].value for key in keys(3)] == [0.0, 1.0, 2.0]


async def test_a_slow_query_holds_nobody_and_its_answer_is_used_in_the_next_tick(patience):
    release = threading.Event()

    def ask(promql):
        if promql == "slow":
            release.wait(HELD_SECONDS)
        return [Sample(1.0)]

    slow, quick = keys(2)
    wanted = {slow: "slow", quick: "quick"}
    with asking(ask) as own:
        try:
            assert (await own.answers({quick: "quick"}))[quick] == [Sample(1.0)]
            patience(0.5)
            first = await own.answers(wanted)
            assert not release.is_set(), "the slow one is not waited for"
            assert first[quick] == [Sample(1.0)]
            assert first[slow].kind is ProblemKind.TIMEOUT
        finally:
            release.set()
        patience(60)
        second = await own.answers(wanted)
    assert second[slow] == [Sample(1.0)]


async def test_a_pipeline_has_one_query_under_way_and_all_together_eight(patience):
    patience(0.1)
    release, lock, running, asked = threading.Event(), threading.Lock(), [0, 0], []

    def ask(promql):
        with lock:
            asked.append(promql)
            running[0] += 1
            running[1] = max(running)
        release.wait(HELD_SECONDS)
        with lock:
            running[0] -= 1
        return []

    wanted = {key: key.name for key in keys(20)}
    with asking(ask) as own:
        try:
            async with asyncio.timeout(60):
                while len(asked) < 8:
                    await own.answers(wanted)
            for _ in range(5):
                await own.answers(wanted)
            assert running[1] == 8
            assert len(asked) == 8
        finally:
            release.set()
        patience(60)
        await own.answers(wanted)
    assert sorted(asked) == sorted(set(asked)) == sorted(wanted.values())


async def test_only_so_many_pipelines_are_asked_and_the_others_are_told():
    asked = []
    with asking(lambda promql: asked.append(promql) or []) as own:
        found = await own.answers({key: key.name for key in keys(203)})
    assert len(asked) == 200
    refused = [key for key, answer in found.items() if isinstance(answer, Problem)]
    assert sorted(refused) == keys(203)[200:]
    assert found[refused[0]].kind is ProblemKind.TOO_MANY


async def test_an_old_answer_and_one_to_another_question_are_not_used(patience):
    clock, gate = [0.0], threading.Event()
    gate.set()

    def ask(promql):
        gate.wait(HELD_SECONDS)
        return [Sample(1.0)]

    with asking(ask, lambda: clock[0]) as own:
        assert (await own.answers({KEY: "first"}))[KEY] == [Sample(1.0)]
        gate.clear()
        patience(0.1)
        try:
            clock[0] = 10.0
            assert (await own.answers({KEY: "first"}))[KEY] == [Sample(1.0)]  # of the tick before
            clock[0] = 21.0
            assert (await own.answers({KEY: "first"}))[KEY].kind is ProblemKind.TIMEOUT
            clock[0] = 10.0
            assert (await own.answers({KEY: "second"}))[KEY].kind is ProblemKind.TIMEOUT
        finally:
            gate.set()


async def reading(answer, pipelines, enough=lambda found: True):
    """Signals by a reader whose server calls `answer(query)` for queries of single pipelines; others get nothing. It
    reads until that is `enough`.
    """

    def answer_own(query, _request):
        return answer(query) if "own_p95" in query else vector()

    async with prometheus(answer_own) as (url, asked):
        reader = PrometheusReader(ReaderSettings(url=url, **UNHURRIED))
        try:
            async with asyncio.timeout(60):
                while not enough(found := await reader.read(pipelines)):
                    pass
            return found, asked
        finally:
            reader.close()


def vector(*values):
    result = [{"metric": {"n": str(index)}, "value": [0, value]} for index, value in enumerate(values)]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


async def test_bad_answers_of_one_query_are_its_pipelines_alone(patience):
    bad = {
        "several": (lambda: vector("0.1", "0.2"), ProblemKind.SEVERAL_SERIES),
        "text": (lambda: vector("fast"), ProblemKind.QUERY_ERROR),
        "negative": (lambda: vector("-0.1"), ProblemKind.VALUE),
        "infinite": (lambda: vector("+Inf"), ProblemKind.VALUE),
        "forbidden": (lambda: web.Response(status=403), ProblemKind.UNAUTHORIZED),
        "broken": (lambda: web.Response(status=500), ProblemKind.QUERY_ERROR),
    }

    async def late():
        await asyncio.Event().wait()  # for ever: a reader that waits for it never ends

    answers = {name: make for name, (make, _) in bad.items()} | {"good": lambda: vector("0.1"), "late": late}
    own = {Key("media", name): by_query(f'own_p95{{namespace="media",n="{name}"}}') for name in answers}
    plain = Key("media", "plain")
    patience(0.5)

    def only_one_is_late(found):
        problems = {key.name: signals.problem for key, signals in found.items() if signals.problem is not None}
        late = [name for name, problem in problems.items() if problem.kind is ProblemKind.TIMEOUT]
        return late == ["late"]

    found, _ = await reading(
        lambda query: answers[query.split('n="')[1].split('"')[0]](), [*own.items(), (plain, spec())], only_one_is_late
    )
    for name, (_, kind) in bad.items():
        assert found[Key("media", name)].problem.kind is kind, name
    assert found[Key("media", "late")].problem.kind is ProblemKind.TIMEOUT
    assert found[Key("media", "good")].latency_seconds == 0.1
    assert found[plain].problem is None


async def test_a_query_that_looks_beyond_its_namespace_is_never_asked():
    found, asked = await reading(lambda query: vector("0.1"), [(KEY, by_query('max(own_p95{namespace="other"})'))])
    assert not any("own_p95" in query for query in asked)
    assert found[KEY].latency_seconds is None


async def test_without_prometheus_the_query_is_a_problem_too():
    reader = PrometheusReader(ReaderSettings())
    found = await reader.read([(KEY, by_query())])
    reader.close()
    assert found[KEY].problem.kind is ProblemKind.NOT_CONFIGURED
