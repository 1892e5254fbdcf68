"""Answers of Prometheus: what becomes of each form of a sample, and of what is no instant vector."""

import json
import math
from typing import Any

import msgspec
import pytest
import requests

from mediapipeline_operator.core.scaling import ProblemKind
from mediapipeline_operator.core.scaling.signals import Sample, Series
from mediapipeline_operator.shell.prometheus.answers import Envelope, plain, to_samples
from mediapipeline_operator.shell.prometheus.errors import QueryRefusedError, to_problem


def _result(body: bytes) -> msgspec.Raw:
    response = requests.Response()
    response.status_code = 200
    return Envelope.of(response, body).json()["data"]["result"]


def _body(result: Any, kind: str = "vector") -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def _element(value: Any, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1732200000.123, value]}


def test_labels_that_are_asked_for_are_kept_and_absent_ones_are_empty() -> None:
    labels = {"__name__": "up", "namespace": "n", "pipeline": "p", "pod": "p-0", "le": "0.1", "zone": "a"}
    found = to_samples(_result(_body([_element("1.5", **labels), _element("2")])))
    assert found == [Sample(1.5, Series("n", "p", "p-0", "0.1", "up")), Sample(2.0)]


@pytest.mark.parametrize(("text", "value"), [("+Inf", math.inf), ("-Inf", -math.inf), ("1e-3", 0.001), ("0", 0.0)])
def test_every_spelling_of_a_number_is_read(text: str, value: float) -> None:
    assert to_samples(_result(_body([_element(text)])))[0].value == value


def test_nan_is_a_sample_whose_value_is_not_a_number() -> None:
    assert math.isnan(to_samples(_result(_body([_element("NaN")])))[0].value)


@pytest.mark.parametrize(
    "result",
    [
        [{"metric": {}, "values": [[0, "1"]]}],
        [{"metric": {}, "histogram": [0, {"count": "1"}]}],
        [_element("many")],
        [_element(3)],
        [{"metric": {"pod": 3}, "value": [0, "1"]}],
        [1732200000.1, "3"],
        {},
        None,
    ],
    ids=["matrix", "histogram", "text", "number", "label", "scalar", "object", "null"],
)
def test_what_is_no_instant_vector_is_refused(result: Any) -> None:
    with pytest.raises(QueryRefusedError, match="no instant vector"):
        to_samples(_result(_body(result)))


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"data": {"result": [', b"\xff\xfe"])
def test_what_is_not_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        to_samples(_result(body))
    problem = to_problem(caught.value, "http://prometheus")
    assert (problem.kind, "not JSON" in problem.message) == (ProblemKind.QUERY_ERROR, True)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"data": {}}', b'{"data": null}'])
def test_json_without_a_result_is_a_failed_query(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        _result(body)
    assert to_problem(caught.value, "http://prometheus").kind is ProblemKind.QUERY_ERROR


def test_other_results_can_be_read_as_they_are() -> None:
    matrix = [{"metric": {}, "values": [[0, "1"]]}]
    assert plain(_result(_body(matrix, "matrix"))) == matrix
