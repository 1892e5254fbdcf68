"""What the builders need to know of the installation, besides the pipeline itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mediapipeline_operator.api.spec import MediaPipelineSpec

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """Settings of the operator that show in manifests. A change of one may roll every pipeline's pods."""

    mediapod_image: str
    service_monitor_labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    operator_namespace: str = "mediapipeline-system"
    monitoring_namespace: str = "monitoring"
    prometheus_url: str = ""  # what KEDA is told to ask
    prometheus_headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # and with what
    keda_trigger_authentication: str = ""  # and where it finds its token


def resolved_image(spec: MediaPipelineSpec, settings: BuildSettings) -> str:
    """The image that the pods run: the pipeline's own, else the operator's default."""
    return spec.image or settings.mediapod_image
