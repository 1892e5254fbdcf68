"""Wrong stages are refused with the field, the value and what is allowed; the published schemas say the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from mediapod.effects import EFFECTS, EffectUnavailable, create, schemas
from mediapod.effects.gaussian_kernel import gaussian_weights
from mediapod.engine import InvalidStages, StageSpec, build_engine


def errors_of(*stages: StageSpec) -> dict[str, dict[str, object]]:
    with pytest.raises(InvalidStages) as caught:
        build_engine(stages, "CPU")
    assert caught.value.errors
    return {error["field"]: error for error in caught.value.errors}


def test_an_unknown_effect_lists_the_known_ones() -> None:
    error = errors_of(StageSpec("a", "Blur", {}))["stages[0].effect"]
    assert error["allowed"] == sorted(EFFECTS)
    assert "'Blur'" in error["message"]


def test_a_value_out_of_bounds_names_the_field_the_value_and_the_bounds() -> None:
    error = errors_of(StageSpec("a", "GaussianBlur", {"radius": 100}))["stages[0].parameters.radius"]
    assert "100" in error["message"]
    assert error["allowed"] == ["integer from 1 to 99"]


def test_a_step_is_named_with_the_bounds() -> None:
    error = errors_of(StageSpec("a", "Pixelate", {"block": 15}))["stages[0].parameters.block"]
    assert error["allowed"] == ["integer from 2 to 256, a multiple of 2"]


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    error = errors_of(StageSpec("a", "GaussianBlur", {"Radius": 3}))["stages[0].parameters.Radius"]
    assert error["allowed"] == ["radius", "sigma"]


def test_every_mistake_is_named_at_once() -> None:
    found = errors_of(
        StageSpec("a", "Translate", {"fill": "red", "x": "3"}),
        StageSpec("b", "GaussianBlur", {"sigma": 0}),
        StageSpec("b", "Passthrough", {"x": 1}),
    )
    assert set(found) == {
        "stages[0].parameters.fill",
        "stages[0].parameters.x",
        "stages[1].parameters.sigma",
        "stages[2].name",
        "stages[2].parameters.x",
    }
    assert found["stages[1].parameters.sigma"]["allowed"] == ["number above 0 to 100"]


@pytest.mark.parametrize("value", ["7", True, 7.5, None, [7], float("nan")])
def test_nothing_is_guessed_from_a_wrong_type(value: object) -> None:
    assert "stages[0].parameters.radius" in errors_of(StageSpec("a", "GaussianBlur", {"radius": value}))


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert create("GaussianBlur", {"radius": 7.0}).parameters.radius == 7


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10_000, 10_000),
    st.floats(-200, 200),
    st.sampled_from(["#00ff00", "#00ff0", "red", "", "#00FF00\n", "5"]),
    st.lists(st.integers(), max_size=1),
)


@pytest.mark.parametrize("name", sorted(EFFECTS))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_published_schema_and_the_effect_accept_the_same(name: str, data: st.DataObject) -> None:
    names = [*schemas()[name].get("properties", {}), "other"]
    parameters = data.draw(st.dictionaries(st.sampled_from(names), _VALUES, max_size=3))
    by_schema = Draft202012Validator(schemas()[name]).is_valid(parameters)
    try:
        create(name, parameters)
        by_effect = True
    except EffectUnavailable:  # accepted; what the parameters name is not on this machine
        by_effect = True
    except ValidationError:
        by_effect = False
    assert by_schema == by_effect


@pytest.mark.parametrize("sigma", [1e-3, 2.4e-282, 5e-324])
def test_a_tiny_sigma_changes_nothing_instead_of_dividing_by_zero(sigma: float) -> None:
    assert gaussian_weights(2, sigma).tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("device", "match"), [("TPU", "Auto, GPU, CPU, Simulated"), ("Simulated", "service_time_seconds")]
)
def test_a_wrong_device_says_what_to_choose(device: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build_engine([], device)
