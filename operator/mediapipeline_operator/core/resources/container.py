"""The mediapod container: ports, environment, probes, restricted security."""

from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources.compute import container_resources, workers
from mediapipeline_operator.core.resources.environment import environment
from mediapipeline_operator.core.resources.media import host_ports
from mediapipeline_operator.core.resources.settings import BuildSettings, resolved_image
from mediapipeline_operator.core.resources.stored import as_stored

SCRATCH = "tmp"


def mediapod(pipeline: MediaPipeline, settings: BuildSettings) -> dict[str, Any]:
    """The one container of a replica. It has no command: the image's own entry point runs."""
    resources = container_resources(pipeline.spec)
    return {
        "name": labels.CONTAINER,
        "image": resolved_image(pipeline.spec, settings),
        "imagePullPolicy": pipeline.spec.image_pull_policy,
        "ports": [_port("http", labels.HTTP_PORT), _port("admin", labels.ADMIN_PORT), *host_ports(pipeline.spec)],
        "env": environment(pipeline, workers(resources)),
        "resources": resources,
        **_probes(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(pipeline),
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _probes() -> dict[str, Any]:
    return {
        # Five minutes: a large model on a cold GPU node warms up slowly. Until then nothing else is probed.
        "startupProbe": _probe("/startupz", period=2, timeout=2, failures=150),
        # Half a minute without a heartbeat: a restart ends every session, so it must not happen for a short stall.
        "livenessProbe": _probe("/healthz", period=10, timeout=5, failures=3),
        # Readiness tells the operator that a drain has begun, so it is asked often.
        "readinessProbe": _probe("/readyz", period=2, timeout=2, failures=2),
    }


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "admin"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _mounts(pipeline: MediaPipeline) -> list[dict[str, Any]]:
    """The scratch folder and the pod author's mounts; a mount of theirs at /tmp takes the scratch folder's place."""
    ours = {"/tmp": {"name": SCRATCH, "mountPath": "/tmp"}}  # noqa: S108  a path in the container, backed by an emptyDir
    theirs = {mount["mountPath"]: as_stored(mount) for mount in pipeline.spec.pod.volume_mounts}
    return list({**ours, **theirs}.values())
