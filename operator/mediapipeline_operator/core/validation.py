"""What the CRD's schema cannot know: whether effects exist and their parameters fit, and whether a query and
schedules mean something.

The check covers the part of JSON Schema that the effects' models produce. A full validator would add a compiled
dependency to a pure core, and its messages speak of schemas; ours name the field, the value and what is allowed. A
schema keyword that is not covered here fails a test, not a user.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from mediapipeline_operator.api.effects import parameter_schemas
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.spec import MediaPipelineSpec, Stage
from mediapipeline_operator.core.promql import query_errors
from mediapipeline_operator.core.scaling.schedules import ScheduleError, check

Schema = Mapping[str, Any]

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),  # JSON Schema calls 7.0 an integer
    "number": lambda value: _is_number(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_CHECKS: Mapping[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: not _is_number(value) or value >= bound,
    "maximum": lambda value, bound: not _is_number(value) or value <= bound,
    "exclusiveMinimum": lambda value, bound: not _is_number(value) or value > bound,
    "exclusiveMaximum": lambda value, bound: not _is_number(value) or value < bound,
    "multipleOf": lambda value, step: not _is_number(value) or Decimal(str(value)) % Decimal(str(step)) == 0,
    "minLength": lambda value, bound: not isinstance(value, str) or len(value) >= bound,
    "maxLength": lambda value, bound: not isinstance(value, str) or len(value) <= bound,
    "pattern": lambda value, pattern: not isinstance(value, str) or re.search(pattern, value) is not None,
    "minItems": lambda value, bound: not isinstance(value, list) or len(value) >= bound,
    "maxItems": lambda value, bound: not isinstance(value, list) or len(value) <= bound,
    "enum": lambda value, allowed: value in allowed,
    "const": lambda value, allowed: value == allowed,
}
_BOUND_WORDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "of the form {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """A wrong field of a MediaPipeline: its path, and a message with its value and what is allowed."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def invalid_stages(spec: MediaPipelineSpec, effects: Mapping[str, Schema] | None = None) -> tuple[FieldError, ...]:
    """Every stage whose effect is unknown or whose parameters do not fit it, in the order of the spec."""
    known = parameter_schemas() if effects is None else effects
    return tuple(
        error
        for index, stage in enumerate(spec.pipeline.stages)
        for error in _stage(f"spec.pipeline.stages[{index}]", stage, known)
    )


def invalid_fields(
    pipeline: MediaPipeline, now: datetime, *, valid_generation: int | None = None
) -> tuple[FieldError, ...]:
    """Everything of the spec that the schema lets pass and that cannot be carried out, in the order of the spec.

    `valid_generation`: one that was found valid before; only what depends on `now` is looked at again.
    """
    timed = tuple(_schedules(pipeline.spec, now))
    if pipeline.generation == valid_generation:
        return timed
    return (*invalid_stages(pipeline.spec), *_query(pipeline), *timed)


def _query(pipeline: MediaPipeline) -> Iterator[FieldError]:
    query = pipeline.spec.autoscaling.latency.query
    for message in query_errors(query, pipeline.key.namespace) if query else ():
        yield FieldError("spec.autoscaling.latency.query", message)


def _schedules(spec: MediaPipelineSpec, now: datetime) -> Iterator[FieldError]:
    for index, schedule in enumerate(spec.autoscaling.schedules):
        try:
            check(schedule, now)
        except ScheduleError as error:
            yield FieldError(f"spec.autoscaling.schedules[{index}]", str(error))


def _stage(path: str, stage: Stage, effects: Mapping[str, Schema]) -> Iterator[FieldError]:
    if stage.effect not in effects:
        allowed = ", ".join(sorted(effects))
        yield FieldError(f"{path}.effect", f"is {_shown(stage.effect)}, which is not an effect; allowed: {allowed}")
        return
    yield from _object(f"{path}.parameters", stage.parameters, effects[stage.effect], stage.effect)


def _object(path: str, value: Mapping[str, Any], schema: Schema, effect: str) -> Iterator[FieldError]:
    """`value` against an object schema; references are looked up in the schema of the effect."""
    properties = schema.get("properties", {})
    definitions = schema.get("$defs", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield FieldError(f"{path}.{name}", f"is missing; it must be {_wanted(properties[name], definitions)}")
    for name, part in value.items():
        if name not in properties:
            allowed = ", ".join(sorted(properties)) or "none"
            yield FieldError(f"{path}.{name}", f"is not a parameter of {effect}; allowed: {allowed}")
        elif not _fits(part, properties[name], definitions):
            wanted = _wanted(properties[name], definitions)
            yield FieldError(f"{path}.{name}", f"is {_shown(part)}; it must be {wanted}")


def _fits(value: Any, schema: Schema, definitions: Mapping[str, Schema]) -> bool:
    schema = _resolved(schema, definitions)
    choices: Sequence[Schema] = schema.get("anyOf", ())
    if choices and not any(_fits(value, choice, definitions) for choice in choices):
        return False
    if "type" in schema and not _TYPES[schema["type"]](value):
        return False
    if not all(check(value, schema[keyword]) for keyword, check in _CHECKS.items() if keyword in schema):
        return False
    items = schema.get("items")
    return items is None or all(_fits(item, items, definitions) for item in value)


def _wanted(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """What a value may be, in words: "integer, at least 1, at most 99"."""
    schema = _resolved(schema, definitions)
    if "anyOf" in schema:
        return " or ".join(_wanted(choice, definitions) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "enum" in schema:
        return "one of " + ", ".join(_shown(allowed) for allowed in schema["enum"])
    if "const" in schema:
        return _shown(schema["const"])
    bounds = [words.format(schema[keyword]) for keyword, words in _BOUND_WORDS.items() if keyword in schema]
    entries = [f"each {_wanted(schema['items'], definitions)}"] if "items" in schema else []
    return ", ".join([str(schema.get("type", "any value")), *bounds, *entries])


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    return definitions[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value for a message; a long one is cut, so that it cannot fill a condition."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
