"""A few random specs on a real API server: accepted, carried out, changed into each other, and never written twice."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from e2e.quiet import late_writes, settled

Eventually = Callable[..., Any]
GROUP = {"apiVersion": "media.rtcscale.dev/v1alpha1", "kind": "MediaPipeline"}
PAIRS = 4  # the first is the simplest


def test_random_specs_are_accepted_and_carried_out(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually, lawful_specs: Any
) -> None:
    operator = start_operator("--prometheus-url=http://127.0.0.1:9")
    names = iter(f"fuzz-{number}" for number in range(PAIRS))

    @settings(
        max_examples=PAIRS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def each(data: st.DataObject) -> None:
        name = next(names)
        first, second = (at_home(data.draw(lawful_specs), world) for _ in range(2))
        world.create("MediaPipeline", {**GROUP, "metadata": {"name": name}, "spec": first})
        carried_out(world, eventually, name)
        replace(world, name, second)
        carried_out(world, eventually, name)

    each()
    assert late_writes(world, settled(world, eventually), 3.0) == [], "writes without a change"
    log = operator.log.read_text()
    assert "Traceback" not in log
    assert "child_differs_after_apply" not in log


def at_home(spec: dict[str, Any], world: Any) -> dict[str, Any]:
    """Active, and with a query that stays in the test's namespace."""
    latency = spec["autoscaling"]["latency"]
    if "query" in latency:
        latency["query"] = latency["query"].replace("media", world.namespace)
    return spec | {"paused": False, "profile": "Video"}


def replace(world: Any, name: str, spec: dict[str, Any]) -> None:
    """The operator writes as well: status, and spec.replicas on a change of the engine."""
    for _ in range(20):
        live = world.get("MediaPipeline", name)
        if live["spec"]["autoscaling"]["engine"] == "Operator":  # then replicas may not change
            spec = spec | {"replicas": live["spec"]["replicas"]}
        answer = world.api.put(world.path("MediaPipeline", name), json={**live, "spec": spec})
        if answer.status_code != 409:
            break
    assert answer.status_code == 200, answer.text


def carried_out(world: Any, eventually: Eventually, name: str) -> None:
    """The spec has reached the children, and nothing of it was refused."""

    def done() -> bool:
        live = world.get("MediaPipeline", name)
        observed = (live.get("status") or {}).get("observedGeneration", 0)
        return bool(observed == live["metadata"]["generation"] and world.get("Deployment", name))

    eventually(done, f"{name} to be carried out")
    reasons = {item["type"]: item["reason"] for item in world.status(name)["conditions"]}
    assert reasons["Ready"] != "ApplyFailed", world.condition("Ready", name)
    assert "Stalled" not in reasons, world.condition("Stalled", name)
