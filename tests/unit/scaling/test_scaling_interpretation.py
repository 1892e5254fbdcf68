"""From the samples of a batch to the signals of each pipeline: what each measure becomes, and what is a problem."""

import math
from typing import Any

import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.scaling import Problem, ProblemKind
from mediapipeline_operator.core.scaling.model import PodSignals, Signals
from mediapipeline_operator.core.scaling.queries import Measure, batch
from mediapipeline_operator.core.scaling.signals import OPTIONAL, Sample, Series, interpret

KEY = Key("n", "p")
STAGES = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}]}}
FLEET_ONLY = {Measure.FLEET_FRAMES, Measure.GROWTH}


def _sample(value: float, pod: str = "", le: str = "", name: str = "") -> Sample:
    return Sample(value, Series(KEY.namespace, KEY.name, pod, le, name))


def _signals(answers: dict[Measure, Any], **spec: Any) -> Signals:
    """Of the one pipeline, when these measures are answered and the others are empty."""
    read = MediaPipelineSpec.model_validate(STAGES | spec)
    return interpret([(KEY, read)], {query: answers.get(query.measure, []) for query in batch([read])})[KEY]


@pytest.mark.parametrize(
    ("measure", "samples", "found"),
    [
        (Measure.UP, [_sample(1.0, "a")], PodSignals(up=True)),
        (Measure.UP, [_sample(0.0, "a")], PodSignals(up=False)),
        (Measure.AGE, [_sample(-0.2, "a")], PodSignals(age_seconds=0.0)),
        (Measure.BUSY, [_sample(0.4, "a")], PodSignals(busy_share=0.4)),
        (Measure.REJECTED, [_sample(2.0, "a")], PodSignals(rejected_per_second=2.0)),
        (Measure.REQUESTS, [_sample(3.0, "a")], PodSignals(requests_per_second=3.0)),
        (Measure.GAUGES, [_sample(4.0, "a", name="mediapod_sessions")], PodSignals(sessions=4.0)),
        (Measure.GAUGES, [_sample(-4.0, "a", name="mediapod_sessions")], PodSignals()),
        (Measure.GAUGES, [_sample(1.0, "a", name="mediapod_draining")], PodSignals(draining=True)),
        (Measure.GAUGES, [_sample(1.0, "a", name="mediapod_unknown")], PodSignals()),
        (Measure.POD_FRAMES, [_sample(30.0, "a")], PodSignals(received_per_second=30.0)),
        (Measure.POD_FRAMES, [_sample(29.0, "a", "0.1"), _sample(9.0, "a", "0.05")], PodSignals(on_time_per_second=29)),
    ],
)
def test_what_a_measure_says_of_a_pod(measure: Measure, samples: list[Sample], found: PodSignals) -> None:
    assert _signals({measure: samples}).pods == {"a": found}


def test_the_fleet_is_read_by_bounds_as_numbers_and_without_one_it_is_what_arrived() -> None:
    texts = [("", 100.0), ("0.1", 90.0), ("0.10", 80.0), ("1.0", 99.0), ("+Inf", 100.0), ("soon", 1.0)]
    found = _signals({Measure.FLEET_FRAMES: [_sample(value, le=le) for le, value in texts]})
    assert (found.received_per_second, found.ok_per_second) == (100.0, {0.1: 90.0, 1.0: 99.0, math.inf: 100.0})


@pytest.mark.parametrize("measure", [query.measure for query in batch([MediaPipelineSpec.model_validate(STAGES)])])
def test_a_second_series_is_a_problem_in_every_measure_and_also_when_it_says_the_same(measure: Measure) -> None:
    pod = "" if measure in FLEET_ONLY else "a"
    name = "mediapod_sessions" if measure is Measure.GAUGES else ""
    twice = [_sample(2.0, pod, name=name)] * 2
    problem = _signals({measure: twice}).problem
    assert problem is not None
    assert problem.kind is ProblemKind.SEVERAL_SERIES
    assert _signals({measure: twice[:1]}).problem is None or measure is Measure.DUPLICATES


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_absent(value: float) -> None:
    answers = {Measure.UP: [_sample(value, "a")], Measure.FLEET_FRAMES: [_sample(value)]}
    assert _signals(answers) == _signals({})


def test_samples_of_others_are_left_out() -> None:
    others = [Sample(1.0, Series("n", "other", "a")), Sample(1.0, Series("m", "p", "a")), Sample(1.0)]
    assert _signals({Measure.UP: others}) == _signals({})


def test_each_latency_source_reads_its_own_histogram() -> None:
    answers = {Measure.FLEET_FRAMES: [_sample(100.0)], Measure.FLEET_REQUESTS: [_sample(7.0)]}
    assert _signals(answers).received_per_second == 100.0
    by_request = _signals(answers, autoscaling={"latency": {"source": "Request"}})
    assert by_request.received_per_second == 7.0


@pytest.mark.parametrize("measure", [Measure.UP, Measure.FLEET_FRAMES, Measure.BUSY])
def test_a_failed_query_is_a_problem_unless_it_is_optional(measure: Measure) -> None:
    down = Problem(ProblemKind.DOWN, "gone")
    assert _signals({measure: down}).problem == (None if measure in OPTIONAL else down)
