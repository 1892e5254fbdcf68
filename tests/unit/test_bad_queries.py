"""A query of a pipeline's own that goes wrong: said in its data state, no replica removed, nobody else delayed.

Two pipelines under the same low load, on a server that answers the batch: one scales on its query, one on frames. What
the second does is the control: it is scaled down.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling import (
    DataState,
    MarkDraining,
    Outcome,
    PodFacts,
    ScalingState,
    SetReplicas,
    Signals,
    WorkloadFacts,
    decide,
)
from mediapipeline_operator.core.scaling.queries import Measure, batch
from mediapipeline_operator.shell.prometheus import PrometheusReader, ReaderSettings, own_queries
from unit.prometheus_server import prometheus

OWN, NEIGHBOUR = Key("media", "own"), Key("media", "neighbour")
PODS = 4
TICK_SECONDS = 10
MINUTES = 6  # more than two windows of scaling down


def spec(**latency: str) -> MediaPipelineSpec:
    stages = {"stages": [{"name": "a", "effect": "GaussianBlur"}]}
    return MediaPipelineSpec.model_validate({"pipeline": stages, "autoscaling": {"latency": latency}})


SPECS = {OWN: spec(source="Query", query='max(own_p95{namespace="media"})'), NEIGHBOUR: spec()}


def sample(value: str, **labels: str) -> dict[str, object]:
    return {"metric": labels, "value": [0, value]}


def vector(*samples: dict[str, object]) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": list(samples)}})


def one(value: str) -> Callable[[], web.Response]:
    return lambda: vector(sample(value))


PER_POD = {Measure.UP: "1", Measure.AGE: "1", Measure.REJECTED: "0", Measure.BUSY: "0.05", Measure.REQUESTS: "0"}


def quiet(measure: Measure) -> web.Response:
    """What Prometheus knows of both: a session a pod, 25 frames a second each, all of them within 20 ms."""
    found: list[dict[str, object]] = []
    for key in SPECS:
        fleet = {"namespace": key.namespace, "pipeline": key.name}
        pods = [fleet | {"pod": f"pod-{index}"} for index in range(PODS)]
        frames = [{}, *({"le": f"{bound:g}"} for bound in LATENCY_BUCKETS_SECONDS if bound >= 0.02)]
        if measure in PER_POD:
            found += [sample(PER_POD[measure], **pod) for pod in pods]
        elif measure is Measure.GAUGES:
            values = {"sessions": "1", "sessions_pending": "0", "sessions_capacity": "8"}
            found += [sample(v, **pod, __name__=f"mediapod_{name}") for pod in pods for name, v in values.items()]
        elif measure is Measure.FLEET_FRAMES:
            found += [sample("100", **fleet, **le) for le in frames]
        elif measure is Measure.POD_FRAMES:
            found += [sample("25", **pod, **le) for pod in pods for le in ({}, {"le": "0.1"})]
        elif measure is Measure.GROWTH:
            found.append(sample("0", **fleet))
    return vector(*found)


def answering(own: Callable[[], web.Response]) -> Callable[[str, web.Request], web.Response]:
    """The batch is answered by `quiet`, the pipeline's own query by `own`."""
    known = {query.promql: query.measure for query in batch(SPECS.values())}
    return lambda promql, _: quiet(known[promql]) if promql in known else own()


def decided(key: Key, signals: Signals) -> list[Outcome]:
    """Decisions of some minutes in which nothing changes."""
    now, state, outcomes = datetime.now(UTC), ScalingState(), []
    created = now - timedelta(hours=1)
    pods = tuple(
        PodFacts(f"pod-{i}", f"uid-{i}", created, ready=True, ready_since=created, sessions=1) for i in range(PODS)
    )
    for _ in range(MINUTES * 60 // TICK_SECONDS):
        seen = replace(signals, taken=now)
        outcomes.append(decide(SPECS[key], WorkloadFacts(PODS, pods=pods), seen, state, now, tick_seconds=TICK_SECONDS))
        state, now = outcomes[-1].state, now + timedelta(seconds=TICK_SECONDS)
    return outcomes


def removals(outcomes: list[Outcome]) -> list[object]:
    actions = [action for outcome in outcomes for action in outcome.actions]
    return [one for one in actions if isinstance(one, MarkDraining) or (isinstance(one, SetReplicas) and one.to < PODS)]


async def read(url: str) -> Mapping[Key, Signals]:
    """Within the time-out that the query has, and nobody waits for a query of somebody else."""
    reader = PrometheusReader(ReaderSettings(url=url, timeout_seconds=60.0, batch_seconds=120.0))
    try:
        return await reader.read(list(SPECS.items()))
    finally:
        reader.close()


async def late() -> web.Response:
    await asyncio.Event().wait()  # for ever: a reader that waits for it never ends
    return vector(sample("0.02"))


NEVER = "no answer"
BAD = {
    "several series": (lambda: vector(sample("0.02", n="1"), sample("0.02", n="2")), "2 series"),
    "a string": (one("fast"), "no instant vector"),
    "another type": (
        lambda: web.json_response({"status": "success", "data": {"resultType": "string", "result": [0, "fast"]}}),
        "no instant vector",
    ),
    "a negative value": (one("-0.02"), "gives -0.02"),
    "an infinite value": (one("+Inf"), "gives inf"),
    "NaN": (one("NaN"), ""),
    "no series": (vector, ""),
    "no permission": (lambda: web.Response(status=403, text="forbidden"), "HTTP 403"),
    "a server's error": (lambda: web.Response(status=500, text="out of memory"), "HTTP 500"),
    NEVER: (late, "has not been answered yet"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, words = BAD[name]
    if name != NEVER:  # whoever answers has the time to, on however busy a machine
        monkeypatch.setattr(own_queries, "PATIENCE_SECONDS", 60.0)
    async with prometheus(answering(answer)) as (url, _):
        signals = await read(url)
    mine, neighbours = decided(OWN, signals[OWN]), decided(NEIGHBOUR, signals[NEIGHBOUR])
    assert {outcome.data_state for outcome in mine} == {DataState.MISSING}
    assert words in mine[-1].text
    assert removals(mine) == []
    assert {outcome.data_state for outcome in neighbours} == {DataState.FRESH}
    assert removals(neighbours), "the control: this load is scaled down"


async def test_a_good_answer_is_scaled_down_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, nothing being removed would prove nothing."""
    monkeypatch.setattr(own_queries, "PATIENCE_SECONDS", 60.0)
    async with prometheus(answering(one("0.02"))) as (url, _):
        signals = await read(url)
    assert removals(decided(OWN, signals[OWN]))
