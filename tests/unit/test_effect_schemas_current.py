"""The operator checks parameters against a copy of the effects' schemas; this holds the copy to the source."""

import json
import subprocess
import sys
from pathlib import Path

from mediapod.effects import schemas

COPY = Path(__file__).parents[2] / "operator" / "mediapipeline_operator" / "api" / "effects.json"


def test_the_operators_copy_is_what_the_effects_publish() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "mediapod.effects", "--schemas"], capture_output=True, text=True, timeout=180, check=True
    ).stdout
    assert COPY.read_text() == printed, f"out of date; write it anew: python -m mediapod.effects --schemas > {COPY}"


def test_every_parameter_is_described_bounded_and_has_a_default() -> None:
    for effect, schema in schemas().items():
        assert schema["additionalProperties"] is False, effect
        for name, parameter in schema.get("properties", {}).items():
            where = f"{effect}.{name}"
            assert parameter["description"], where
            assert "default" in parameter or name in schema.get("required", ()), where
            for branch in parameter.get("anyOf", [parameter]):
                bounded = branch["type"] == "null" or "maximum" in branch or "maxLength" in branch or "enum" in branch
                assert bounded, where


def test_schemas_survive_json() -> None:
    assert json.loads(json.dumps(schemas())) == schemas()
