"""The stages of a pipeline: checked once, then run frame after frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
from pydantic import ValidationError

from mediapod.effects import EFFECTS, Effect, EffectUnavailable, create
from mediapod.engine.interface import EffectError
from mediapod.frames.i420 import I420Frame


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage as the user wrote it."""

    name: str
    effect: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage ready to run."""

    name: str
    effect: Effect[Any]


class StageError(TypedDict):
    """One mistake: where, what is wrong, and what would be right."""

    field: str
    message: str
    allowed: list[str]


class InvalidStages(Exception):  # noqa: N818  the condition reason users see is InvalidPipeline; same wording
    """The stages cannot run; `errors` names every mistake, not only the first."""

    def __init__(self, errors: list[StageError]) -> None:
        super().__init__("; ".join(f"{e['field']}: {e['message']}" for e in errors))
        self.errors = errors

    def describe(self) -> str:
        """What to tell whoever has set them."""
        described = (f"{e['field']}: {e['message']} (allowed: {', '.join(e['allowed'])})" for e in self.errors)
        return f"MEDIAPOD_STAGES: {'; '.join(described)}"


def build_stages(specs: Sequence[StageSpec]) -> list[Stage]:
    """Return the stages with their effects built, in order. Raises InvalidStages listing all mistakes."""
    stages: list[Stage] = []
    errors: list[StageError] = []
    for index, spec in enumerate(specs):
        field = f"stages[{index}]"
        if spec.name in [earlier.name for earlier in specs[:index]]:
            errors.append(_error(f"{field}.name", f"{spec.name!r} is used by an earlier stage", ["a unique name"]))
        try:
            stages.append(Stage(spec.name, create(spec.effect, spec.parameters)))
        except KeyError:
            errors.append(_error(f"{field}.effect", f"unknown effect {spec.effect!r}", sorted(EFFECTS)))
        except EffectUnavailable as unavailable:
            where = f"{field}.parameters.{unavailable.field}"
            errors.append(_error(where, unavailable.message, unavailable.allowed))
        except ValidationError as invalid:
            errors += _parameter_errors(field, spec.effect, invalid)
    if errors:
        raise InvalidStages(errors)
    return stages


def run_on_cpu(stages: Sequence[Stage], frame: I420Frame) -> I420Frame:
    """Run the CPU form of every stage in turn. Raises EffectError naming the stage that failed."""
    for stage in stages:
        try:
            frame = replace(stage.effect.cpu(frame), motion=frame.motion)
        except Exception as cause:  # an effect may fail in any way; the frame is lost, the session is not
            raise EffectError(stage.name, stage.effect.name, repr(cause)) from cause
    return frame


def changes_nothing(stages: Sequence[Stage]) -> bool:
    """Whether pictures leave these stages as they came."""
    return all(stage.effect.is_identity for stage in stages)


def grey_frame(width: int, height: int) -> I420Frame:
    """Return a mid grey picture, for warming up."""
    chroma = ((height + 1) // 2, (width + 1) // 2)
    planes = (np.full(shape, 128, dtype=np.uint8) for shape in ((height, width), chroma, chroma))
    return I420Frame(*planes)


def _parameter_errors(field: str, effect: str, invalid: ValidationError) -> Iterator[StageError]:
    properties = EFFECTS[effect].Parameters.model_json_schema().get("properties", {})
    seen: set[str] = set()
    for problem in invalid.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if name in seen:  # an optional number reports the same mistake once a branch
            continue
        seen.add(name)
        allowed = [_describe(properties[name])] if name in properties else sorted(properties)
        message = (
            f"{problem['msg']} (got {problem['input']!r:.80})"
            if name in properties
            else f"{effect} has no such parameter"
        )
        yield _error(f"{field}.parameters.{name}", message, allowed)


def _describe(schema: Mapping[str, Any]) -> str:
    """Say in words what a parameter's JSON schema accepts."""
    for branch in schema.get("anyOf", []):
        if branch.get("type") != "null":
            return _describe(branch)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "pattern" in schema:
        return f"{schema['type']} matching {schema['pattern']}"
    if "maxLength" in schema:
        return f"{schema['type']} of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    low = f"from {schema['minimum']}" if "minimum" in schema else f"above {schema.get('exclusiveMinimum')}"
    step = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
    return f"{schema['type']} {low} to {schema['maximum']}{step}"


def _error(field: str, message: str, allowed: list[str]) -> StageError:
    return {"field": field, "message": message, "allowed": allowed}
