"""The effects that a stage can name, with the JSON schemas of their parameters. Generated from the mediapod."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any


@cache
def parameter_schemas() -> Mapping[str, Mapping[str, Any]]:
    """Effect name -> JSON schema (draft 2020-12) of its parameters, from effects.json."""
    text = resources.files("mediapipeline_operator.api").joinpath("effects.json").read_text(encoding="utf-8")
    return MappingProxyType(json.loads(text))
