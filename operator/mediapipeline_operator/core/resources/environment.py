"""The environment of the mediapod container: the contract by which a pipeline's spec reaches the process.

Only what the pod acts on is here. Thresholds, windows and limits of scaling stay in the operator, so that changing them
never rolls a pod.
"""

import json
from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.spec import Device, MediaPipelineSpec, Sessions, Simulation
from mediapipeline_operator.core.resources.media import media_environment
from mediapipeline_operator.core.resources.service import PODS_SUFFIX
from mediapipeline_operator.core.resources.stored import as_stored

# Pod authors may set these; every other variable of ours is what makes the pod obey its pipeline.
_OVERRIDABLE = frozenset({"LOG_LEVEL", "MEDIAPOD_LOG_FORMAT"})
_DOWNWARD = {
    "POD_IP": "status.podIP",
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "NODE_NAME": "spec.nodeName",
}


def environment(pipeline: MediaPipeline, worker_count: int) -> list[dict[str, Any]]:
    """Our variables, then the pod author's. Ours win on equal names, except LOG_LEVEL and MEDIAPOD_LOG_FORMAT."""
    extra = {entry["name"]: as_stored(entry) for entry in pipeline.spec.pod.env}
    spec = pipeline.spec
    ours = [
        *_downward(),
        *_plain(pipeline, worker_count),
        *media_environment(spec.networking.media),
        *_token(spec.security.token_secret_name),
    ]
    kept = [entry for entry in ours if not (entry["name"] in _OVERRIDABLE and entry["name"] in extra)]
    taken = {entry["name"] for entry in kept}
    return [*kept, *(entry for name, entry in extra.items() if name not in taken)]


def _downward() -> list[dict[str, Any]]:
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in _DOWNWARD.items()]


def _plain(pipeline: MediaPipeline, worker_count: int) -> list[dict[str, Any]]:
    spec = pipeline.spec
    values = {
        "MEDIAPOD_PIPELINE": pipeline.key.name,
        **_frames(spec),
        **_sessions(spec.sessions),
        **_device(spec, worker_count),
        "MEDIAPOD_HTTP_PORT": str(labels.HTTP_PORT),
        "MEDIAPOD_ADMIN_PORT": str(labels.ADMIN_PORT),
        "MEDIAPOD_GRACE_SECONDS": str(spec.pod.termination_grace_period_seconds),
        "MEDIAPOD_PEERS": pipeline.key.name + PODS_SUFFIX,
        "MEDIAPOD_ALLOWED_ORIGINS": _json(list(spec.security.allowed_origins)),
        "LOG_LEVEL": "INFO",
        "MEDIAPOD_LOG_FORMAT": "json",
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _frames(spec: MediaPipelineSpec) -> dict[str, str]:
    stages = [
        {"name": stage.name, "effect": stage.effect, "parameters": stage.parameters} for stage in spec.pipeline.stages
    ]
    return {
        "MEDIAPOD_STAGES": _json(stages),
        "MEDIAPOD_FRAME_DEADLINE_MILLISECONDS": str(spec.pipeline.frame_deadline_milliseconds),
        "MEDIAPOD_LATE_POLICY": spec.pipeline.late_policy.value,
    }


def _sessions(sessions: Sessions) -> dict[str, str]:
    values = {
        "MAX_SESSIONS_PER_POD": str(sessions.max_per_replica),
        "WEBRTC_TIMEOUT": str(sessions.connect_timeout_seconds),
        "SESSION_TIMEOUT": str(sessions.idle_timeout_seconds),
    }
    if sessions.max_duration_seconds is not None:
        values["MEDIAPOD_MAX_SESSION_SECONDS"] = str(sessions.max_duration_seconds)
    return values


def _device(spec: MediaPipelineSpec, worker_count: int) -> dict[str, str]:
    values = {"MEDIAPOD_DEVICE": spec.compute.device.value}
    if spec.compute.device is Device.SIMULATED:
        simulation = spec.compute.simulation or Simulation()
        values["MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS"] = str(simulation.service_time_milliseconds)
    return {**values, "MEDIAPOD_WORKERS": str(worker_count)}


def _token(secret: str) -> list[dict[str, Any]]:
    if not secret:
        return []
    return [{"name": "MEDIAPOD_TOKEN", "valueFrom": {"secretKeyRef": {"name": secret, "key": "token"}}}]


def _json(value: Any) -> str:
    """Compact and with sorted keys: the same spec always gives the same text, so it never rolls a pod by itself."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
