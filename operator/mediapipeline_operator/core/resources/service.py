"""The two Services: one for clients (signalling), one headless for the operator, Prometheus and peers."""

from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.spec import Profile
from mediapipeline_operator.core.resources.frame import child, metadata
from mediapipeline_operator.core.resources.settings import Manifest

PODS_SUFFIX = "-pods"


def signalling_service(pipeline: MediaPipeline) -> Manifest:
    """The Service that clients send offers to."""
    wanted = pipeline.spec.networking.service
    meta = metadata(pipeline, labels.COMPONENT_SIGNALLING)
    if wanted.annotations:
        meta["annotations"] = dict(sorted(wanted.annotations.items()))
    spec: dict[str, Any] = {
        "type": wanted.type,
        "selector": labels.selector(pipeline.key.name),
        "ports": [{"name": "http", "port": labels.HTTP_PORT, "targetPort": "http", "protocol": "TCP"}],
    }
    if pipeline.spec.profile is Profile.VOICE:
        # A voice client that reconnects finds its session's pod again.
        spec["sessionAffinity"] = "ClientIP"
    return child("v1", "Service", meta, spec=spec)


def pods_service(pipeline: MediaPipeline) -> Manifest:
    """The headless Service. It publishes pods that are not ready: a draining pod still has sessions."""
    spec = {
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": labels.selector(pipeline.key.name),
        "ports": [{"name": "admin", "port": labels.ADMIN_PORT, "targetPort": "admin", "protocol": "TCP"}],
    }
    return child("v1", "Service", metadata(pipeline, labels.COMPONENT_METRICS, PODS_SUFFIX), spec=spec)
