"""The autoscalers of the engines HorizontalPodAutoscaler and KEDA.

Both scale the MediaPipeline, never its Deployment: they set spec.replicas, and the operator carries it out by draining.
Signals have no votes here: all of them drive, and the highest proposal wins, as these autoscalers work.
"""

from __future__ import annotations

from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.spec import Engine, LatencySource, Signal, SignalType
from mediapipeline_operator.core import expressions
from mediapipeline_operator.core.expressions import Scope
from mediapipeline_operator.core.resources.frame import child, metadata
from mediapipeline_operator.core.resources.settings import BuildSettings, Manifest

Bounds = tuple[int, int]
HPA_KIND = "HorizontalPodAutoscaler"
KEDA_KIND = "ScaledObject"
_POLL_SECONDS = 15
_RESOURCES = {SignalType.CPU_UTILIZATION: "cpu", SignalType.MEMORY_UTILIZATION: "memory"}
# Latency answers late, and one number in it is noise: up by double, but not on a peak of less than a minute; down by a
# tenth a minute, and only when five minutes agree.
_BEHAVIOR: dict[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 60,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
    },
}


def autoscaler_kind(engine: Engine) -> str | None:
    """The kind of the child that the engine needs; None: none."""
    return {Engine.HPA: HPA_KIND, Engine.KEDA: KEDA_KIND}.get(engine)


def autoscaler(pipeline: MediaPipeline, settings: BuildSettings, bounds: Bounds | None = None) -> Manifest | None:
    """None with the engines Operator and None. `bounds`: fewest and most replicas now, where schedules narrow them."""
    scaling = pipeline.spec.autoscaling
    fewest, most = bounds or (scaling.min_replicas, scaling.max_replicas)
    meta = metadata(pipeline, labels.COMPONENT_MEDIA)
    if scaling.engine is Engine.HPA:
        return child("autoscaling/v2", HPA_KIND, meta, spec=_hpa(pipeline, fewest, most))
    if scaling.engine is Engine.KEDA:
        return child("keda.sh/v1alpha1", KEDA_KIND, meta, spec=_scaled_object(pipeline, settings, fewest, most))
    return None


def _target(pipeline: MediaPipeline) -> dict[str, str]:
    return {"apiVersion": labels.API_VERSION, "kind": labels.KIND, "name": pipeline.key.name}


def _hpa(pipeline: MediaPipeline, fewest: int, most: int) -> dict[str, Any]:
    scaling = pipeline.spec.autoscaling
    metric = expressions.REQUEST_P95 if scaling.latency.source is LatencySource.REQUEST else expressions.FRAME_P95
    limit = _quantity(scaling.latency.scale_up.above_milliseconds)
    latency = _object(pipeline, metric, {"type": "Value", "value": limit})
    return {
        "scaleTargetRef": _target(pipeline),
        "minReplicas": fewest,
        "maxReplicas": most,
        "metrics": [latency, *(_hpa_signal(pipeline, signal) for signal in scaling.signals)],
        "behavior": _BEHAVIOR,
    }


def _hpa_signal(pipeline: MediaPipeline, signal: Signal) -> dict[str, Any]:
    resource = _RESOURCES.get(signal.type)
    if resource is not None:
        target = {"type": "Utilization", "averageUtilization": signal.target}
        return {"type": "Resource", "resource": {"name": resource, "target": target}}
    if signal.type is SignalType.GPU_UTILIZATION:
        return _object(pipeline, expressions.GPU_PERCENT, {"type": "Value", "value": str(signal.target)})
    return _object(pipeline, expressions.REQUESTS, {"type": "AverageValue", "averageValue": str(signal.target)})


def _object(pipeline: MediaPipeline, metric: str, target: dict[str, str]) -> dict[str, Any]:
    """A metric of the pipeline itself, by custom.metrics.k8s.io. Not an external one: KEDA, where it is installed, is
    the one server of those."""
    described = {"describedObject": _target(pipeline), "metric": {"name": metric}, "target": target}
    return {"type": "Object", "object": described}


def _quantity(milliseconds: int) -> str:
    """Seconds in the spelling that the API server keeps."""
    return f"{milliseconds}m" if milliseconds % 1000 else str(milliseconds // 1000)


def _scaled_object(pipeline: MediaPipeline, settings: BuildSettings, fewest: int, most: int) -> dict[str, Any]:
    scaling = pipeline.spec.autoscaling
    return {
        "scaleTargetRef": _target(pipeline),
        "minReplicaCount": fewest,
        "maxReplicaCount": most,
        "pollingInterval": _POLL_SECONDS,
        "fallback": {
            "failureThreshold": max(1, -(-scaling.fallback.after_seconds // _POLL_SECONDS)),
            "replicas": scaling.fallback.replicas or fewest,
            "behavior": "currentReplicasIfHigher",  # static, the default, lowers a busy fleet to this number
        },
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _BEHAVIOR}},
        "triggers": [
            _prometheus(settings, _latency_query(pipeline), "Value", _seconds(pipeline)),
            *(_keda_signal(pipeline, settings, signal) for signal in scaling.signals),
        ],
    }


def _seconds(pipeline: MediaPipeline) -> str:
    return f"{pipeline.spec.autoscaling.latency.scale_up.above_milliseconds / 1000:g}"


def _scope(pipeline: MediaPipeline) -> Scope:
    namespace, name = expressions.quoted(pipeline.key.namespace), expressions.quoted(pipeline.key.name)
    return Scope(f"namespace={namespace},pipeline={name}")


def _latency_query(pipeline: MediaPipeline) -> str:
    latency = pipeline.spec.autoscaling.latency
    if latency.source is LatencySource.QUERY:
        return latency.query
    p95 = expressions.request_p95 if latency.source is LatencySource.REQUEST else expressions.frame_p95
    return p95(_scope(pipeline))


def _keda_signal(pipeline: MediaPipeline, settings: BuildSettings, signal: Signal) -> dict[str, Any]:
    resource = _RESOURCES.get(signal.type)
    if resource is not None:
        return {"type": resource, "metricType": "Utilization", "metadata": {"value": str(signal.target)}}
    if signal.type is SignalType.GPU_UTILIZATION:
        return _prometheus(settings, expressions.gpu_percent(_scope(pipeline)), "Value", str(signal.target))
    return _prometheus(settings, expressions.requests(_scope(pipeline)), "AverageValue", str(signal.target))


def _prometheus(settings: BuildSettings, query: str, metric_type: str, threshold: str) -> dict[str, Any]:
    """By default KEDA takes "no data" for 0 and removes replicas during an outage; and AverageValue, its default type,
    divides a latency by the number of replicas."""
    trigger: dict[str, Any] = {"type": "prometheus", "metricType": metric_type}
    values = {
        "serverAddress": settings.prometheus_url,
        "query": query,
        "threshold": threshold,
        "ignoreNullValues": "false",
    }
    if settings.prometheus_headers:
        values["customHeaders"] = ",".join(f"{name}={value}" for name, value in settings.prometheus_headers.items())
    if settings.keda_trigger_authentication:
        values["authModes"] = "bearer"
        trigger["authenticationRef"] = {
            "kind": "ClusterTriggerAuthentication",
            "name": settings.keda_trigger_authentication,
        }
    return {**trigger, "metadata": values}
