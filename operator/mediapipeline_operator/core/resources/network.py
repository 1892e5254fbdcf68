"""Who may reach the pods: the NetworkPolicy and the Ingress."""

from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.spec import IngressSpec
from mediapipeline_operator.core.resources.frame import child, metadata
from mediapipeline_operator.core.resources.media import media_rules
from mediapipeline_operator.core.resources.settings import BuildSettings, Manifest
from mediapipeline_operator.core.resources.stored import as_stored

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
# WebSockets and long uploads outlive nginx's default of 60 s.
_INGRESS_ANNOTATIONS = {
    "nginx.ingress.kubernetes.io/proxy-body-size": "16m",
    "nginx.ingress.kubernetes.io/proxy-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
    "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
}


def network_policy(pipeline: MediaPipeline, settings: BuildSettings) -> Manifest | None:
    """None when the pipeline does without. Only ingress is limited; probes come from the node and are let through."""
    wanted = pipeline.spec.networking.network_policy
    if not wanted.enabled:
        return None
    selecting = {"matchLabels": labels.selector(pipeline.key.name)}
    spec = {
        "podSelector": selecting,
        "policyTypes": ["Ingress"],
        "ingress": [
            _rule("http", [as_stored(peer) for peer in wanted.allow_from]),
            *media_rules(pipeline.spec.networking.media),
            _rule("admin", _admin_peers(selecting, settings)),
        ],
    }
    return child("networking.k8s.io/v1", "NetworkPolicy", metadata(pipeline, labels.COMPONENT_MEDIA), spec=spec)


def _rule(port: str, peers: list[dict[str, Any]]) -> dict[str, Any]:
    ports = [{"protocol": "TCP", "port": port}]
    return {"ports": ports, "from": peers} if peers else {"ports": ports}


def _admin_peers(own_pods: dict[str, Any], settings: BuildSettings) -> list[dict[str, Any]]:
    """This pipeline's pods (placement), the operator (drain) and the monitoring namespace (scrapes)."""
    operator = {
        "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: settings.operator_namespace}},
        "podSelector": {"matchLabels": {labels.NAME: labels.MANAGER}},
    }
    monitoring = {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: settings.monitoring_namespace}}}
    return [{"podSelector": own_pods}, operator, monitoring]


def ingress(pipeline: MediaPipeline) -> Manifest | None:
    """None when the pipeline asks for none."""
    wanted = pipeline.spec.networking.ingress
    if wanted is None:
        return None
    meta = metadata(pipeline, labels.COMPONENT_SIGNALLING)
    meta["annotations"] = dict(sorted({**_INGRESS_ANNOTATIONS, **wanted.annotations}.items()))
    return child("networking.k8s.io/v1", "Ingress", meta, spec=_ingress_spec(pipeline.key.name, wanted))


def _ingress_spec(service: str, wanted: IngressSpec) -> dict[str, Any]:
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: dict[str, Any] = {"rules": [{"host": wanted.host, "http": {"paths": [path]}}]}
    if wanted.class_name:
        spec["ingressClassName"] = wanted.class_name
    if wanted.tls_secret_name:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls_secret_name}]
    return spec
