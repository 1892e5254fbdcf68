"""Quantities: one amount, many spellings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediapipeline_operator.core.quantity import canonical_quantity, parse_quantity


@pytest.mark.parametrize(
    ("one", "other"), [("2000m", "2"), ("1Gi", "1024Mi"), ("1e3", "1k"), (2, "2"), (0.5, "500m"), ("0", "0m")]
)
def test_equal_amounts_have_one_spelling(one: object, other: object) -> None:
    assert canonical_quantity(one) == canonical_quantity(other)


@pytest.mark.parametrize(("one", "other"), [("1", "1k"), ("1M", "1Mi"), ("100m", "100")])
def test_different_amounts_differ(one: str, other: str) -> None:
    assert canonical_quantity(one) != canonical_quantity(other)


@pytest.mark.parametrize("value", ["", "abc", "1 Gi", True, None])
def test_what_is_no_quantity_stays(value: object) -> None:
    assert canonical_quantity(value) == value


def test_nonsense_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="write for example 500m"):
        parse_quantity("lots")


@given(st.integers(min_value=0, max_value=10**9))
def test_milli_is_a_thousandth(amount: int) -> None:
    assert parse_quantity(f"{amount * 1000}m") == amount
