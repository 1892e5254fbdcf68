"""Every example as it stands: its children are made, and the operator agrees with the API server about what it wrote."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Eventually = Callable[..., Any]
FOLDER = Path(__file__).parents[3] / "examples"
EXAMPLES = sorted(
    path
    for path in FOLDER.rglob("*.yaml")
    if any((body or {}).get("kind") == "MediaPipeline" for body in yaml.safe_load_all(path.read_text()))
)


@pytest.mark.timeout(180)
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
    kubectl("apply", "-n", world.namespace, "-f", str(path))
    names = [item["metadata"]["name"] for item in world.items("MediaPipeline")]
    assert names
    for name in names:
        eventually(lambda name=name: world.get("ServiceMonitor", name), f"the children of {name}", 60)
        eventually(lambda name=name: world.status(name).get("autoscaling"), f"a decision for {name}", 60)
    count = -1
    while count != len(world.writes()):
        count = len(world.writes())
        time.sleep(2.0)
    kubectl("apply", "-n", world.namespace, "-f", str(path))
    time.sleep(4.0)
    assert [f"{one.verb} {one.resource}/{one.subresource} {one.name}" for one in world.writes()[count:]] == []
    assert "child_differs_after_apply" not in operator.log.read_text()
