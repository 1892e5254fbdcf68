"""From pydantic's JSON schema to the structural schema of a CRD.

No references, no titles, no unions; defaults also for objects, or those of their fields would never apply.
"""

from typing import Any

from pydantic import BaseModel

from mediapipeline_operator.api.model import KUBERNETES_PART, Json

_KEPT = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
)


class Converter:
    """Converts models. `parts` holds Kubernetes' own schemas; `defaulting` writes defaults (spec) or none (status)."""

    def __init__(self, parts: Json, *, defaulting: bool) -> None:
        self._parts = parts
        self._defaulting = defaulting
        self._definitions: Json = {}

    def convert(self, model: type[BaseModel]) -> Json:
        """The structural schema of `model`, by the names that users write."""
        schema = model.model_json_schema(by_alias=True)
        self._definitions = schema.pop("$defs", {})
        return self._object(schema)

    def _object(self, schema: Json) -> Json:
        """A model: its properties, and which of them are required."""
        converted = self._kept(schema)
        converted["properties"] = {
            name: self._property(part, required=name in schema.get("required", ()))
            for name, part in schema["properties"].items()
        }
        return converted

    def _property(self, schema: Json, *, required: bool) -> Json:
        """A field: its own description goes before its type's, and objects and lists default to empty ones."""
        optional, inner = _without_null(schema)
        converted = self._value(inner)
        if "description" in schema:
            converted["description"] = schema["description"]
        converted.pop("default", None)
        if self._defaulting and not required and not optional:
            converted["default"] = _default(schema, converted)
        return converted

    def _value(self, schema: Json) -> Json:
        if KUBERNETES_PART in schema:
            return {**self._kept(schema), **self._parts[schema[KUBERNETES_PART]]}
        if "$ref" in schema:
            return self._value(self._definitions[schema["$ref"].rsplit("/", 1)[-1]])
        if "anyOf" in schema:
            return _int_or_string(schema["anyOf"])
        if "properties" in schema:
            return self._object(schema)
        return self._collection(schema)

    def _collection(self, schema: Json) -> Json:
        converted = self._kept(schema)
        if "const" in schema:
            converted["enum"] = [schema["const"]]
        if "items" in schema:
            converted["items"] = self._value(schema["items"])
            converted.setdefault("x-kubernetes-list-type", "atomic")
        if isinstance(schema.get("additionalProperties"), dict):
            converted["additionalProperties"] = self._value(schema["additionalProperties"])
        return converted

    @staticmethod
    def _kept(schema: Json) -> Json:
        return {key: schema[key] for key in _KEPT if key in schema}


def _without_null(schema: Json) -> tuple[bool, Json]:
    """pydantic writes `X | None` as a union with null; a CRD says it by leaving the field out."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == len(schema.get("anyOf", ())):
        return False, schema
    return True, {**choices[0], **{key: part for key, part in schema.items() if key not in ("anyOf", "default")}}


def _int_or_string(choices: list[Json]) -> Json:
    """Kubernetes' int-or-string. The number's bounds hold for numbers, the pattern for strings."""
    bounds: Json = {
        key: choice[key] for choice in choices for key in ("minimum", "maximum", "pattern") if key in choice
    }
    return {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}], **bounds}


def _default(schema: Json, converted: Json) -> Any:
    if "default" in schema:
        return schema["default"]
    return [] if converted.get("type") == "array" else {}
