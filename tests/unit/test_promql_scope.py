"""A pipeline's own query stays within its namespace, in every selector, in every corner of the language."""

import pytest

from mediapipeline_operator.core.promql import query_errors

OWN = 'namespace="media"'


@pytest.mark.parametrize(
    "query",
    [
        f"x{{{OWN}}}",
        f'{{__name__="x",{OWN}}}',
        f'histogram_quantile(0.95, sum by (le) (rate(x_bucket{{{OWN},a!="b"}}[1m])))',
        f"max_over_time((max(x{{{OWN}}}) / 1000)[5m:30s]) or vector(0)",
        f"quantile(0.9, -x{{{OWN}}} offset 5m)",
        f'label_replace(x{{{OWN}}}, "a", "$1", "b", "(.+)") * on () group_left () max(y{{{OWN}}} @ end())',
    ],
)
def test_queries_within_the_namespace(query):
    assert list(query_errors(query, "media")) == []


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("x", "to x"),
        ('x{namespace="other"}', "to x"),
        ('x{namespace!="other"}', "to x"),
        ('x{namespace=~"media"}', "to x"),
        ('x{namespace=~"media|.*"}', "to x"),
        ('{__name__=~".+"}', "the selector without a name"),
        (f"x{{{OWN}}} or y", "to y"),
        (f"x{{{OWN}}} / on () sum(rate(y[1m]))", "to y"),
        (f'sum(count_values("v", y)) + x{{{OWN}}}', "to y"),
        (f"x{{{OWN}}} and max_over_time(y[5m:1m])", "to y"),
        (f"quantile(scalar(y), x{{{OWN}}})", "to y"),
        (f"-(y) + x{{{OWN}}}", "to y"),
        (f'x{{{OWN} or job="y"}}', "to x"),
        ("1", "selects no series"),
        ("time()", "selects no series"),
        ("sum(", "does not parse"),
        ("", "does not parse"),
    ],
)
def test_queries_that_look_beyond_it_or_measure_nothing(query, word):
    errors = list(query_errors(query, "media"))
    assert errors
    assert word in errors[0]
    if "to " in word:
        assert 'namespace="media"' in errors[0]
