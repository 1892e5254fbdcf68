"""What the cluster lacks becomes a condition, and the rest works."""

import time
from collections.abc import Callable
from typing import Any

Eventually = Callable[..., Any]
MINUTE_SECONDS, WAIT_SECONDS = 60, 90  # until missing metrics are told; for everything else


def test_service_monitors_are_missed_used_and_missed_again(
    service_monitors: Callable[[bool], None], start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    service_monitors(False)
    operator = start_operator("--service-monitor-labels=release=prometheus")
    world.pipeline()
    eventually(lambda: world.condition("MonitoringAvailable").get("status") == "False", "the condition")
    assert world.condition("MonitoringAvailable")["reason"] == "KindMissing"
    eventually(lambda: world.status().get("updatedReplicas") == 2, "the rest to work")
    service_monitors(True)
    eventually(lambda: world.get("ServiceMonitor", "studio"), "the ServiceMonitor")
    assert world.get("ServiceMonitor", "studio")["metadata"]["labels"]["release"] == "prometheus"
    eventually(lambda: world.condition("MonitoringAvailable").get("status") == "True", "the condition to recover")
    assert "child_differs_after_apply" not in operator.log.read_text()
    world.patch("ServiceMonitor", "studio", {"spec": {"endpoints": []}})
    eventually(lambda: world.get("ServiceMonitor", "studio")["spec"]["endpoints"], "the repair")
    switched_off = {"spec": {"monitoring": {"serviceMonitor": {"enabled": False}}}}
    world.patch("MediaPipeline", "studio", switched_off)
    eventually(lambda: world.get("ServiceMonitor", "studio") is None, "the ServiceMonitor to go")
    eventually(lambda: world.condition("MonitoringAvailable")["reason"] == "Disabled", "the reason")


def test_without_prometheus_the_number_is_held_and_said(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    start_operator("--prometheus-url=http://127.0.0.1:9")
    world.pipeline()
    eventually(lambda: world.status().get("updatedReplicas") == 2, "both pods")
    for pod in world.items("Pod"):
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]}
        world.patch("Pod", pod["metadata"]["name"], {"status": status}, "status")
    eventually(lambda: world.condition("Ready").get("status") == "True", "metrics not to enter Ready")
    in_a_minute = MINUTE_SECONDS + WAIT_SECONDS
    eventually(lambda: world.condition("MetricsAvailable").get("status") == "False", "the condition", in_a_minute)
    assert world.get("Deployment", "studio")["spec"]["replicas"] == 2
    assert world.status()["autoscaling"]["summary"] == "MetricsMissing"
    eventually(lambda: "MetricsMissing" in world.reasons(), "the event")


def test_the_operator_starts_before_its_crd_is_served(
    start_operator: Callable[..., Any], world: Any, eventually: Eventually
) -> None:
    """Its health says that it is alive and ready; a namespace that ends is left in peace."""
    operator = start_operator()
    eventually(lambda: operator.get("/readyz") == 200, "readiness")
    eventually(lambda: operator.get("/healthz") == 200, "its health")
    eventually(lambda: operator.get("/metrics") == 200, "its metrics")
    world.pipeline()
    eventually(lambda: world.get("Deployment", "studio"), "the children")
    world.api.delete(f"/api/v1/namespaces/{world.namespace}").raise_for_status()
    time.sleep(3.0)
    assert operator.process.poll() is None
    assert "Traceback" not in operator.log.read_text()
