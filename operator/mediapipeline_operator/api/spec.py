"""The spec of a MediaPipeline as typed, frozen models. The CRD is generated from them (see schema).

Every field has a description, a bound and, where one is sensible, a default. A field is here only if something obeys
it. Parts that Kubernetes itself defines (resources, affinity, tolerations, ...) stay plain JSON; their schema is
Kubernetes' own.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from mediapipeline_operator.api.autoscaling import (
    Autoscaling,
    Drain,
    DrainTimeoutAction,
    Engine,
    Fallback,
    Latency,
    LatencySource,
    Mode,
    Policy,
    ScaleDownThreshold,
    ScaleUpThreshold,
    Schedule,
    SessionTargets,
    Signal,
    SignalType,
    Vote,
)
from mediapipeline_operator.api.hosting import (
    IngressSpec,
    Media,
    MediaMode,
    Monitoring,
    Networking,
    NetworkPolicySpec,
    PodOverrides,
    Rollout,
    Scheduling,
    Security,
    ServiceMonitorSpec,
    ServiceSpec,
)
from mediapipeline_operator.api.model import (
    LATENCY_BUCKETS_MILLISECONDS,
    LATENCY_BUCKETS_SECONDS,
    ApiModel,
    Json,
    Name,
    kubernetes_part,
)

__all__ = [
    "LATENCY_BUCKETS_MILLISECONDS",
    "LATENCY_BUCKETS_SECONDS",
    "ApiModel",
    "Autoscaling",
    "Compute",
    "Device",
    "Drain",
    "DrainTimeoutAction",
    "Engine",
    "Fallback",
    "Gpu",
    "IngressSpec",
    "LatePolicy",
    "Latency",
    "LatencySource",
    "Media",
    "MediaMode",
    "MediaPipelineSpec",
    "Mode",
    "Monitoring",
    "NetworkPolicySpec",
    "Networking",
    "Pipeline",
    "PodOverrides",
    "Policy",
    "Profile",
    "Rollout",
    "ScaleDownThreshold",
    "ScaleUpThreshold",
    "Schedule",
    "Scheduling",
    "Security",
    "ServiceMonitorSpec",
    "ServiceSpec",
    "SessionTargets",
    "Sessions",
    "Signal",
    "SignalType",
    "Simulation",
    "Stage",
    "Vote",
]


class Profile(StrEnum):
    VIDEO = "Video"
    VOICE = "Voice"


class LatePolicy(StrEnum):
    DROP = "Drop"
    BYPASS = "Bypass"


class Device(StrEnum):
    GPU = "GPU"
    CPU = "CPU"
    SIMULATED = "Simulated"


class Stage(ApiModel):
    """One effect of the pipeline."""

    name: Name = Field(description="Name of the stage, unique in the pipeline.")
    effect: str = Field(
        min_length=1,
        max_length=253,
        description="Name of the effect, for example GaussianBlur. The mediapod lists them at /effects.",
    )
    parameters: Json = Field(
        default_factory=dict,
        max_length=32,
        description="Parameters of the effect, checked against its own schema.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )


class Pipeline(ApiModel):
    """What happens to every frame."""

    stages: tuple[Stage, ...] = Field(
        min_length=1,
        max_length=16,
        description="Effects in the order in which they are applied.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    frame_deadline_milliseconds: int = Field(
        default=100, ge=10, le=5000, description="A frame older than this is late."
    )
    late_policy: LatePolicy = Field(
        default=LatePolicy.DROP,
        description="What happens to a late frame: Drop it, or Bypass the effects and send it unprocessed. "
        "Either way it counts as missed.",
    )


class Sessions(ApiModel):
    """Admission and timers of sessions."""

    max_per_replica: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Sessions that one replica admits; sessions that are still connecting count.",
    )
    connect_timeout_seconds: int = Field(
        default=30, ge=1, le=600, description="A session that has not connected after this time is closed."
    )
    idle_timeout_seconds: int = Field(
        default=300, ge=5, le=86400, description="A session that has sent no media for this time is closed."
    )
    max_duration_seconds: int | None = Field(
        default=None, ge=1, le=2592000, description="A session is closed after this time. Absent: unlimited."
    )


class Gpu(ApiModel):
    """The GPU resource that a replica requests."""

    resource_name: str = Field(
        default="nvidia.com/gpu",
        min_length=3,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        description="Extended resource to request, for example nvidia.com/gpu or nvidia.com/mig-1g.10gb.",
    )
    count: int = Field(default=1, ge=1, le=16, description="How many of them a replica requests.")


class Simulation(ApiModel):
    """A simulated serial device: one frame at a time, each for a fixed time, without CPU use."""

    service_time_milliseconds: int = Field(
        default=4, ge=1, le=1000, description="Time that the simulated device takes for one frame."
    )


class Compute(ApiModel):
    """Where the frames are processed."""

    device: Device = Field(
        default=Device.GPU,
        description="GPU requests a GPU (the pod itself falls back to the CPU when CUDA fails, and counts it), "
        "CPU uses OpenCV, Simulated stands in for a GPU on machines without one.",
    )
    gpu: Gpu | None = Field(
        default=None, description="The GPU resource; with device GPU it defaults to one nvidia.com/gpu."
    )
    simulation: Simulation | None = Field(
        default=None, description="Settings of the simulated device; only with device Simulated."
    )
    resources: Json = Field(
        default_factory=dict,
        description="Requests and limits of the container as a whole; empty: sensible defaults by device.",
        json_schema_extra=kubernetes_part("resources"),
    )


class MediaPipelineSpec(ApiModel):
    """What the service does to frames, on which device, between how many replicas, at which latency."""

    profile: Profile = Field(
        default=Profile.VIDEO,
        description="Kind of media. Voice: guaranteed CPU and memory on nodes labelled node-type=low-latency, and "
        "clients stay with one pod; not with device GPU. Immutable.",
    )
    paused: bool = Field(
        default=False,
        description="While true no child is written, running drains are undone and spec.replicas is not carried out.",
    )
    image: str = Field(default="", max_length=512, description="Image of the mediapod; empty: the operator's default.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="Pull policy of the image."
    )
    image_pull_secrets: tuple[Json, ...] = Field(
        default=(),
        max_length=8,
        description="Secrets for pulling the image.",
        json_schema_extra=kubernetes_part("imagePullSecrets"),
    )
    replicas: int = Field(
        default=2,
        ge=0,
        le=1000,
        description="Number of replicas with the engines None, HorizontalPodAutoscaler and KEDA; the /scale "
        "subresource. Carried out by draining.",
    )
    pipeline: Pipeline = Field(description="What happens to every frame.")
    sessions: Sessions = Field(default_factory=Sessions, description="Admission and timers of sessions.")
    compute: Compute = Field(default_factory=Compute, description="Where the frames are processed.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="Where the pods may run.")
    autoscaling: Autoscaling = Field(
        default_factory=Autoscaling, description="Who decides the number of replicas, and how."
    )
    rollout: Rollout = Field(default_factory=Rollout, description="The Deployment's rolling update.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="How Prometheus finds and scrapes the pods.")
    networking: Networking = Field(default_factory=Networking, description="How clients reach the pods.")
    security: Security = Field(default_factory=Security, description="Who may open sessions.")
    pod: PodOverrides = Field(default_factory=PodOverrides, description="Additions to the pod template.")
