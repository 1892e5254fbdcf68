"""Every example: its children are made once, and the operator agrees with the API server about what it wrote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.quiet import late_writes, settled

Eventually = Callable[..., Any]
FOLDER = Path(__file__).parents[3] / "examples"


def _pipelines(path: Path) -> list[dict[str, Any]]:
    bodies = yaml.safe_load_all(path.read_text())
    return [body for body in bodies if isinstance(body, dict) and body.get("kind") == "MediaPipeline"]


EXAMPLES = sorted(path for path in FOLDER.rglob("*.yaml") if "templates" not in path.parts and _pipelines(path))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_written_once(
    path: Path,
    service_monitors: Callable[[bool], None],
    start_operator: Callable[..., Any],
    world: Any,
    kubectl: Callable[..., Any],
    eventually: Eventually,
) -> None:
    service_monitors(True)
    operator = start_operator()
    names = _apply(path, world, kubectl)
    for name in names:
        eventually(lambda name=name: world.get("ServiceMonitor", name), f"the children of {name}")
        eventually(lambda name=name: world.status(name).get("autoscaling"), f"a decision for {name}")
    before = settled(world, eventually)
    _apply(path, world, kubectl)
    assert late_writes(world, before, 4.0) == []
    assert "child_differs_after_apply" not in operator.log.read_text()


def _apply(path: Path, world: Any, kubectl: Callable[..., Any]) -> list[str]:
    """The example's pipelines, in the test's namespace."""
    names = []
    for body in _pipelines(path):
        body["metadata"]["namespace"] = world.namespace
        kubectl("apply", "-f", "-", input=yaml.safe_dump(body))
        names.append(body["metadata"]["name"])
    return names
