"""The Prometheus adapter against a server that misbehaves in every way that we know of."""

import asyncio
import json

import promql_parser
import pytest
from aiohttp import web

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling import ProblemKind
from mediapipeline_operator.core.scaling.queries import batch, bucket_pattern
from mediapipeline_operator.shell.prometheus import PrometheusReader, ReaderSettings
from mediapipeline_operator.shell.prometheus.breaker import Breaker, Gate
from unit.prometheus_server import prometheus

KEY = Key("media", "studio")
LABELS = {"namespace": "media", "pipeline": "studio", "pod": "pod-0"}
UNHURRIED = {"timeout_seconds": 60.0, "batch_seconds": 120.0}  # who is not to be too late is not, on any machine
IMPATIENT = {"timeout_seconds": 0.3, "batch_seconds": 2.0}


def spec(interval=5, above=100):
    return MediaPipelineSpec.model_validate(
        {
            "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
            "monitoring": {"intervalSeconds": interval},
            "autoscaling": {"latency": {"scaleUp": {"aboveMilliseconds": above}}},
        }
    )


def vector(*samples):
    result = [{"metric": labels, "value": [0, str(value)]} for labels, value in samples]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


def healthy(query):
    """What a Prometheus with one good pod answers."""
    if query.startswith("max by (__name__"):
        names = {
            "mediapod_sessions": 3,
            "mediapod_sessions_pending": 1,
            "mediapod_sessions_capacity": 8,
            "mediapod_draining": 0,
        }
        return vector(*((LABELS | {"__name__": name}, value) for name, value in names.items()))
    if query.startswith("count by"):
        return vector()
    if query.startswith("("):
        return vector(({"namespace": "media", "pipeline": "studio"}, 0.5))
    if "le=~" in query:
        return vector((LABELS, 100), (LABELS | {"le": "0.1"}, 80))
    if "pipeline, le)" in query:
        fleet = {"namespace": "media", "pipeline": "studio"}
        buckets = {"0.05": 40, "0.1": 80, "1.0": 90, "+Inf": 90}
        return vector((fleet, 100), *((fleet | {"le": le}, value) for le, value in buckets.items()))
    return vector((LABELS, 1))


async def read(url, pipelines=None, **settings):
    reader = PrometheusReader(ReaderSettings(url=url, **(UNHURRIED | settings)))
    try:
        return await reader.read(pipelines or [(KEY, spec())])
    finally:
        reader.close()


async def read_from(answer, **settings):
    async with prometheus(answer) as (url, _):
        return (await read(url, **settings))[KEY]


async def test_a_healthy_answer_becomes_signals():
    signals = await read_from(lambda query, request: healthy(query))
    assert signals.problem is None
    pod = signals.pods["pod-0"]
    assert (pod.up, pod.sessions, pod.pending, pod.capacity, pod.draining) == (True, 3.0, 1.0, 8.0, False)
    assert (pod.received_per_second, pod.on_time_per_second, pod.busy_share) == (100.0, 80.0, 1.0)
    assert signals.received_per_second == 100
    assert signals.ok_per_second[0.1] == 80
    assert signals.ok_per_second[1.0] == 90
    assert signals.sessions_growth_per_second == 0.5
    assert signals.window_seconds == 20


async def test_no_server():
    signals = await read("http://127.0.0.1:9")
    assert signals[KEY].problem.kind is ProblemKind.DOWN


async def test_no_url():
    assert (await read(""))[KEY].problem.kind is ProblemKind.NOT_CONFIGURED


async def test_a_slow_server_is_a_time_out_and_does_not_hold_the_tick():
    async def slow(query, request):
        await asyncio.Event().wait()  # for ever: a tick that waits for it never ends

    signals = await read_from(slow, **IMPATIENT)
    assert signals.problem.kind is ProblemKind.TIMEOUT


async def test_a_slow_drip_is_a_time_out():
    """Each byte comes within the read time-out; the answer as a whole never ends."""

    async def drip(query, request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(60):
            await response.write(b" " * 70_000)
            await asyncio.sleep(0.05)
        return response

    signals = await read_from(drip, **IMPATIENT)
    assert signals.problem.kind is ProblemKind.TIMEOUT


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "PrometheusUnauthorized"),
        (403, "PrometheusUnauthorized"),
        (500, "PrometheusQueryError"),
        (422, "PrometheusQueryError"),
    ],
)
async def test_error_statuses(status, kind):
    body = {"status": "error", "error": "the words of the server"}
    signals = await read_from(lambda query, request: web.json_response(body, status=status))
    assert signals.problem.kind == kind
    assert "the words of the server" in signals.problem.message


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "null", "[]", '{"data": {"result": 5}}', '{"data": {"result": [{"metric": {}, "value": [1]}]}}'],
)
async def test_answers_that_are_no_vector(body):
    signals = await read_from(lambda query, request: web.Response(text=body, content_type="application/json"))
    assert signals.problem.kind is ProblemKind.QUERY_ERROR


async def test_nan_and_infinity_are_unknown_not_zero():
    def answer(query, request):
        value = "NaN" if "frames" in query else "+Inf"
        return (
            vector((LABELS | {"le": "0.1", "__name__": "mediapod_sessions"}, value))
            if "count" not in query
            else vector()
        )

    signals = await read_from(answer)
    assert signals.problem is None
    assert signals.pods == {}
    assert signals.ok_per_second == {}


async def test_an_empty_answer_is_no_problem_of_the_server_and_no_zero():
    signals = await read_from(lambda query, request: vector())
    assert signals.problem is None
    assert signals.pods == {}


async def test_two_series_for_one_pod_are_said():
    def answer(query, request):
        return vector((LABELS, 2)) if query.startswith("count by") else healthy(query)

    signals = await read_from(answer)
    assert signals.problem.kind is ProblemKind.SEVERAL_SERIES
    assert "pod-0" in signals.problem.message


async def test_the_same_series_twice_in_one_answer_is_said():
    def answer(query, request):
        return (
            vector((LABELS, 1), (LABELS, 2))
            if query.startswith("max by (namespace, pipeline, pod) (up")
            else healthy(query)
        )

    assert (await read_from(answer)).problem.kind is ProblemKind.SEVERAL_SERIES


async def test_a_huge_answer_is_refused():
    def answer(query, request):
        return web.Response(
            text=json.dumps({"data": {"result": [], "padding": "x" * 300_000}}), content_type="application/json"
        )

    signals = await read_from(answer, max_bytes=100_000)
    assert signals.problem.kind is ProblemKind.QUERY_ERROR
    assert "larger than 100000" in signals.problem.message


async def test_an_optional_query_that_fails_takes_nothing_else_with_it():
    def answer(query, request):
        return web.Response(status=500) if "device_busy" in query else healthy(query)

    signals = await read_from(answer)
    assert signals.problem is None
    assert signals.pods["pod-0"].busy_share is None


async def test_a_failed_window_leaves_the_pipelines_of_other_windows_alone():
    other = Key("media", "other")

    def answer(query, request):
        return web.Response(status=500) if "[40s]" in query else healthy(query)

    async with prometheus(answer) as (url, _):
        signals = await read(url, [(KEY, spec()), (other, spec(interval=10))])
    assert signals[KEY].problem is None
    assert signals[other].problem.kind is ProblemKind.QUERY_ERROR


async def test_token_file_and_headers_are_sent_and_a_new_token_is_picked_up(tmp_path):
    token, seen = tmp_path / "token", []
    token.write_text("first\n")

    def answer(query, request):
        seen.append((request.headers["Authorization"], request.headers["X-Scope-OrgID"]))
        return healthy(query)

    async with prometheus(answer) as (url, _):
        settings = ReaderSettings(url, str(token), headers={"X-Scope-OrgID": "tenant"}, **UNHURRIED)
        reader = PrometheusReader(settings)
        await reader.read([(KEY, spec())])
        token.write_text("second\n")
        await reader.read([(KEY, spec())])
        reader.close()
    assert {one for one, _ in seen} == {"Bearer first", "Bearer second"}
    assert {tenant for _, tenant in seen} == {"tenant"}


async def test_a_missing_token_file_is_a_problem_not_a_crash(tmp_path):
    signals = await read("http://127.0.0.1:9", token_file=str(tmp_path / "absent"))
    assert signals[KEY].problem is not None


async def test_after_repeated_failures_one_probe_is_sent_instead_of_the_batch():
    alive = False

    def answer(query, request):
        if not alive:
            request.transport.abort()  # seen at once and after the query was noted, on any machine
        return healthy(query)

    async with prometheus(answer) as (url, asked):
        reader = PrometheusReader(ReaderSettings(url=url, **UNHURRIED))
        clock = [0.0]
        reader._breaker = Breaker(lambda: clock[0])
        for _ in range(3):
            await reader.read([(KEY, spec())])
        asked.clear()
        paused = await reader.read([(KEY, spec())])
        assert asked == []
        assert paused[KEY].problem.kind is ProblemKind.DOWN
        clock[0] = 6.0
        await reader.read([(KEY, spec())])
        assert len(asked) == 1
        alive, clock[0] = True, 60.0
        assert (await reader.read([(KEY, spec())]))[KEY].problem is None
        reader.close()


def test_breaker_pauses_double_up_to_half_a_minute():
    clock = [0.0]
    breaker = Breaker(lambda: clock[0])
    for _ in range(2):
        breaker.failed()
    assert breaker.gate() is Gate.CLOSED
    for pause in (5, 10, 20, 30, 30):
        breaker.failed()
        clock[0] += pause - 0.1
        assert breaker.gate() is Gate.OPEN
        clock[0] += 0.2
        assert breaker.gate() is Gate.HALF_OPEN
    breaker.succeeded()
    assert breaker.gate() is Gate.CLOSED


def test_the_batch_is_constant_in_the_number_of_pipelines():
    assert len(batch([spec()])) == len(batch([spec()] * 2000)) == 10
    assert len(batch([spec(), spec(interval=10)])) == 15
    assert batch([]) == ()


@pytest.mark.parametrize(
    "query", batch([spec(), spec(interval=1, above=1000)]), ids=lambda query: f"{query.measure}-{query.window_seconds}"
)
def test_every_query_parses(query):
    promql_parser.parse(query.promql)


def test_whole_seconds_match_in_both_spellings():
    assert bucket_pattern([1000]) == r"1|1\\.0"
    assert bucket_pattern([100, 50]) == r"0\\.05|0\\.1"
