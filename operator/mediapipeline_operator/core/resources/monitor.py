"""The ServiceMonitor: one series a pod, with the target labels that the operator's queries rely on."""

from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources.frame import child, metadata
from mediapipeline_operator.core.resources.settings import BuildSettings, Manifest

_POD_LABEL = "__meta_kubernetes_pod_label_" + labels.PIPELINE.replace(".", "_").replace("/", "_")


def service_monitor(pipeline: MediaPipeline, settings: BuildSettings) -> Manifest | None:
    """None when the pipeline does without. Selects the headless Service alone: two would double every series."""
    wanted = pipeline.spec.monitoring.service_monitor
    if not wanted.enabled:
        return None
    meta = metadata(pipeline, labels.COMPONENT_METRICS)
    chosen = wanted.labels or settings.service_monitor_labels
    meta["labels"] = {**dict(sorted(chosen.items())), **meta["labels"]}
    matching = {**labels.selector(pipeline.key.name), labels.COMPONENT: labels.COMPONENT_METRICS}
    spec = {
        "selector": {"matchLabels": matching},
        "endpoints": [_endpoint(pipeline.spec.monitoring.interval_seconds)],
    }
    return child("monitoring.coreos.com/v1", "ServiceMonitor", meta, spec=spec)


def _endpoint(interval_seconds: int) -> dict[str, Any]:
    return {
        "port": "admin",
        "path": "/metrics",
        "interval": f"{interval_seconds}s",
        "scrapeTimeout": f"{interval_seconds}s",  # Prometheus refuses a longer one than the interval
        "relabelings": [
            _relabeling("__meta_kubernetes_namespace", "namespace"),
            _relabeling("__meta_kubernetes_pod_name", "pod"),
            _relabeling(_POD_LABEL, "pipeline"),
        ],
    }


def _relabeling(source: str, target: str) -> dict[str, Any]:
    return {"action": "replace", "sourceLabels": [source], "targetLabel": target}
