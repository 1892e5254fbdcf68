"""Effects and parameters that do not exist or fit: the message names the field, the value and what is allowed."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mediapipeline_operator.api.effects import parameter_schemas
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core import validation
from mediapipeline_operator.core.validation import invalid_stages


def errors(effect: str, parameters: dict[str, Any]) -> list[str]:
    stages = [
        {"name": "first", "effect": "Passthrough"},
        {"name": "second", "effect": effect, "parameters": parameters},
    ]
    spec = MediaPipelineSpec.model_validate({"pipeline": {"stages": stages}})
    return [str(error) for error in invalid_stages(spec)]


def test_an_unknown_effect_is_answered_with_the_list_of_effects() -> None:
    (message,) = errors("GausianBlur", {})
    assert message.startswith('spec.pipeline.stages[1].effect: is "GausianBlur", which is not an effect; allowed: ')
    assert "GaussianBlur" in message


@pytest.mark.parametrize(
    ("effect", "parameters", "message"),
    [
        ("GaussianBlur", {"radius": 500}, "radius: is 500; it must be integer, at least 1, at most 99"),
        ("GaussianBlur", {"radius": 1.5}, "radius: is 1.5; it must be integer, at least 1, at most 99"),
        ("GaussianBlur", {"radius": True}, "radius: is True; it must be integer, at least 1, at most 99"),
        ("GaussianBlur", {"radius": "7"}, 'radius: is "7"; it must be integer, at least 1, at most 99'),
        ("GaussianBlur", {"sigma": 0}, "sigma: is 0; it must be number, above 0, at most 100"),
        ("GaussianBlur", {"raduis": 7}, "raduis: is not a parameter of GaussianBlur; allowed: radius, sigma"),
        ("Pixelate", {"block": 5}, "block: is 5; it must be integer, at least 2, at most 256, a multiple of 2"),
        ("Passthrough", {"x": 1}, "x: is not a parameter of Passthrough; allowed: none"),
        ("Translate", {"fill": "red"}, 'fill: is "red"; it must be string, at most 7 characters, of the form ^#[0-9A'),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(effect: str, parameters: dict[str, Any], message: str) -> None:
    (found,) = errors(effect, parameters)
    assert found.startswith(f"spec.pipeline.stages[1].parameters.{message}")


@pytest.mark.parametrize(
    ("effect", "parameters"),
    [
        ("GaussianBlur", {}),
        ("GaussianBlur", {"radius": 7, "sigma": 2.5}),
        ("GaussianBlur", {"radius": 7.0, "sigma": None}),
        ("ColorCorrection", {"saturation": 0, "hue": -180}),
        ("Translate", {"x": -5, "fill": "#00ff00"}),
    ],
)
def test_what_fits_is_accepted(effect: str, parameters: dict[str, Any]) -> None:
    assert errors(effect, parameters) == []


def test_all_errors_are_reported_not_only_the_first() -> None:
    assert len(errors("GaussianBlur", {"radius": 0, "sigma": -1, "other": 1})) == 3


def test_a_long_value_is_cut() -> None:
    (message,) = errors("Translate", {"fill": "#" * 5000})
    assert len(message) < 300


VALUES = [None, True, 0, 1, 7, 7.0, 7.5, -1, 99, 100, 181, 9000, "", "x", "#123456", "#12345g", [], [1], {}, {"a": 1}]
CASES = [
    (effect, name, value)
    for effect, schema in parameter_schemas().items()
    for name in schema["properties"]
    for value in VALUES
]


@pytest.mark.parametrize(("effect", "name", "value"), CASES)
def test_it_agrees_with_a_full_json_schema_validator(effect: str, name: str, value: Any) -> None:
    full = Draft202012Validator(dict(parameter_schemas()[effect])).is_valid({name: value})
    assert (errors(effect, {name: value}) == []) is full


def test_every_keyword_of_the_effects_is_covered() -> None:
    known = {*validation._CHECKS, "type", "anyOf", "items", "$ref", "title", "description", "default"}
    for schema in parameter_schemas().values():
        top = {"type", "properties", "additionalProperties", "required", "title", "description", "$defs"}
        assert schema.keys() <= top
        assert schema["additionalProperties"] is False
        for field in [*schema["properties"].values(), *schema.get("$defs", {}).values()]:
            assert keywords(field) <= known


def keywords(schema: Any) -> set[str]:
    found = set(schema)
    for inner in [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        found |= keywords(inner)
    return found


def test_arrays_references_and_choices_are_checked_too() -> None:
    effects = {
        "Later": {
            "type": "object",
            "additionalProperties": False,
            "required": ["mode"],
            "$defs": {"Mode": {"enum": ["soft", "hard"], "type": "string"}},
            "properties": {
                "mode": {"$ref": "#/$defs/Mode"},
                "box": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2},
            },
        }
    }
    stages = [{"name": "a", "effect": "Later", "parameters": {"box": [1, -1]}}]
    spec = MediaPipelineSpec.model_validate({"pipeline": {"stages": stages}})
    assert [str(error) for error in invalid_stages(spec, effects)] == [
        'spec.pipeline.stages[0].parameters.mode: is missing; it must be one of "soft", "hard"',
        (
            "spec.pipeline.stages[0].parameters.box: is [1, -1]; it must be array, at least 2 entries, "
            "at most 2 entries, each integer, at least 0"
        ),
    ]
