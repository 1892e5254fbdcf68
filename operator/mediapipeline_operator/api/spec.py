"""The spec of a MediaPipeline as typed, frozen models. The CRD is generated from this module.

Every field has a description, a bound and, where one is sensible, a default. A field is here only if something obeys it.
Parts that Kubernetes itself defines (resources, affinity, tolerations, ...) stay plain JSON; their schema is Kubernetes' own.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Json = dict[str, Any]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]

# Bounds of the latency histogram (seconds). Thresholds lie on them, where the missed share is exact and nothing is interpolated.
LATENCY_BUCKETS_SECONDS = (
    0.005, 0.01, 0.015, 0.02, 0.025, 0.033, 0.04, 0.05, 0.06, 0.075, 0.08, 0.1,
    0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0,
)  # fmt: skip
LATENCY_BUCKETS_MILLISECONDS = tuple(round(bound * 1000) for bound in LATENCY_BUCKETS_SECONDS)


class ApiModel(BaseModel):
    """Frozen, camelCase on the wire. Unknown fields are ignored: a newer API server may know more than this operator."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Profile(StrEnum):
    VIDEO = "Video"


class LatePolicy(StrEnum):
    DROP = "Drop"
    BYPASS = "Bypass"


class Device(StrEnum):
    GPU = "GPU"
    CPU = "CPU"
    SIMULATED = "Simulated"


class Engine(StrEnum):
    OPERATOR = "Operator"
    NONE = "None"


class Mode(StrEnum):
    ACTIVE = "Active"
    ADVISORY = "Advisory"


class Policy(StrEnum):
    SLO = "SLO"
    THRESHOLD = "Threshold"


class LatencySource(StrEnum):
    FRAME = "Frame"


class DrainTimeoutAction(StrEnum):
    KEEP = "Keep"
    FORCE = "Force"


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
        description="What happens to a late frame: Drop it, or Bypass the effects and send it unprocessed. Either way it counts as missed.",
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
        description="GPU requests a GPU (the pod itself falls back to the CPU when CUDA fails, and counts it), CPU uses OpenCV, Simulated stands in for a GPU on machines without one.",
    )
    gpu: Gpu | None = Field(
        default=None, description="The GPU resource; with device GPU it defaults to one nvidia.com/gpu."
    )
    simulation: Simulation | None = Field(
        default=None, description="Settings of the simulated device; only with device Simulated."
    )
    resources: Json = Field(
        default_factory=dict, description="Requests and limits of the container; sensible defaults by device."
    )


class Scheduling(ApiModel):
    """Where the pods may run: passed on to the pod template."""

    node_selector: dict[str, str] = Field(
        default_factory=dict, max_length=32, description="Labels that a node must have."
    )
    tolerations: tuple[Json, ...] = Field(default=(), max_length=32, description="Tolerations of the pods.")
    affinity: Json = Field(default_factory=dict, description="Affinity of the pods.")
    topology_spread_constraints: tuple[Json, ...] = Field(
        default=(),
        max_length=8,
        description="Spread of the pods; without it they spread over nodes and zones where possible.",
    )
    priority_class_name: str = Field(default="", max_length=253, description="PriorityClass of the pods.")
    runtime_class_name: str = Field(
        default="", max_length=253, description="RuntimeClass of the pods, for example nvidia."
    )


class ScaleUpThreshold(ApiModel):
    """When latency asks for one replica more."""

    above_milliseconds: int = Field(
        default=100,
        ge=5,
        le=5000,
        description="p95 above this asks for more replicas. A bound of the latency histogram.",
    )
    for_seconds: int = Field(default=30, ge=1, le=3600, description="For how long without a break.")


class ScaleDownThreshold(ApiModel):
    """When latency allows one replica fewer."""

    below_milliseconds: int = Field(
        default=50, ge=5, le=5000, description="p95 below this allows fewer replicas. A bound of the latency histogram."
    )
    for_seconds: int = Field(default=120, ge=1, le=86400, description="For how long without a break.")


class Latency(ApiModel):
    """The promised rule: up while p95 is high for a while, down only while it is low for longer."""

    source: LatencySource = Field(
        default=LatencySource.FRAME,
        description="Which latency counts: the age of returned frames, missed frames included.",
    )
    scale_up: ScaleUpThreshold = Field(default_factory=ScaleUpThreshold, description="Threshold for more replicas.")
    scale_down: ScaleDownThreshold = Field(
        default_factory=ScaleDownThreshold, description="Threshold for fewer replicas."
    )


class SessionTargets(ApiModel):
    """Feed-forward on sessions."""

    target_utilization_percent: int = Field(
        default=70, ge=10, le=100, description="Share of a replica's capacity that should be used."
    )
    buffer: int = Field(default=0, ge=0, le=10000, description="Free session slots to keep ready.")


class Drain(ApiModel):
    """How a replica leaves: it takes no new sessions, and is deleted when its sessions have ended."""

    timeout_seconds: int = Field(default=1800, ge=1, le=86400, description="After this time on_timeout applies.")
    on_timeout: DrainTimeoutAction = Field(
        default=DrainTimeoutAction.KEEP, description="Keep waits on for the sessions and says so; Force ends them."
    )
    max_parallel: int = Field(default=1, ge=1, le=10, description="How many replicas may drain at a time.")


class Fallback(ApiModel):
    """What to do while metrics are missing. It never lowers the number of replicas."""

    after_seconds: int = Field(
        default=180, ge=30, le=86400, description="How long metrics may be missing before the fallback applies."
    )
    replicas: int | None = Field(
        default=None, ge=1, le=1000, description="At least this many replicas meanwhile. Absent: the number is held."
    )


class Autoscaling(ApiModel):
    """Who decides the number of replicas, and how."""

    engine: Engine = Field(
        default=Engine.OPERATOR, description="Operator decides from p95 and sessions; None leaves it to spec.replicas."
    )
    mode: Mode = Field(
        default=Mode.ACTIVE,
        description="Advisory decides, explains and publishes, but does not touch the replicas; only with engine Operator.",
    )
    policy: Policy = Field(
        default=Policy.SLO,
        description="SLO: sessions lead and latency corrects. Threshold: the latency rule alone, with its guards.",
    )
    min_replicas: int = Field(default=2, ge=1, le=1000, description="Fewest serving replicas.")
    max_replicas: int = Field(default=10, ge=1, le=1000, description="Most replicas, draining ones included.")
    latency: Latency = Field(default_factory=Latency, description="The latency thresholds.")
    sessions: SessionTargets = Field(
        default_factory=SessionTargets, description="Feed-forward on sessions (policy SLO)."
    )
    drain: Drain = Field(default_factory=Drain, description="How replicas leave.")
    fallback: Fallback = Field(default_factory=Fallback, description="What to do while metrics are missing.")


class Rollout(ApiModel):
    """The Deployment's rolling update."""

    max_surge: int | str = Field(
        default=1, description="Pods above the number of replicas during a rollout; a number or a percentage."
    )
    max_unavailable: int | str = Field(
        default=0, description="Pods below the number of replicas during a rollout; a number or a percentage."
    )


class ServiceMonitorSpec(ApiModel):
    enabled: bool = Field(default=True, description="Whether a ServiceMonitor is made.")
    labels: dict[str, str] = Field(
        default_factory=dict,
        max_length=32,
        description="Labels by which the cluster's Prometheus selects it; default: a setting of the operator.",
    )


class Monitoring(ApiModel):
    """How Prometheus finds and scrapes the pods."""

    service_monitor: ServiceMonitorSpec = Field(default_factory=ServiceMonitorSpec, description="The ServiceMonitor.")
    interval_seconds: int = Field(
        default=5, ge=1, le=60, description="Scrape interval, also what is expected of a foreign scrape configuration."
    )


class ServiceSpec(ApiModel):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the signalling Service."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict, max_length=32, description="Annotations of the signalling Service."
    )


class IngressSpec(ApiModel):
    host: str = Field(min_length=1, max_length=253, description="Host name of the Ingress.")
    class_name: str = Field(default="", max_length=253, description="IngressClass; empty: the cluster's default.")
    tls_secret_name: str = Field(
        default="", max_length=253, description="Secret with the certificate; empty: no TLS section."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        max_length=32,
        description="Annotations of the Ingress, added to those for long time-outs.",
    )


class NetworkPolicySpec(ApiModel):
    enabled: bool = Field(default=True, description="Whether a NetworkPolicy is made.")
    allow_from: tuple[Json, ...] = Field(
        default=(), max_length=16, description="Who may reach the signalling port (NetworkPolicyPeer); empty: any."
    )


class Networking(ApiModel):
    """How clients reach the pods."""

    service: ServiceSpec = Field(default_factory=ServiceSpec, description="The signalling Service.")
    ingress: IngressSpec | None = Field(default=None, description="An Ingress for signalling. Absent: none.")
    network_policy: NetworkPolicySpec = Field(
        default_factory=NetworkPolicySpec, description="The NetworkPolicy of the pods."
    )


class Security(ApiModel):
    token_secret_name: str = Field(
        default="",
        max_length=253,
        description="Secret whose key token holds the bearer token for signalling; empty: open.",
    )
    allowed_origins: tuple[Annotated[str, Field(max_length=253)], ...] = Field(
        default=(), max_length=32, description="Origins that browsers may call from (CORS)."
    )


class PodOverrides(ApiModel):
    """Additions to the pod template. No hostPath: a pipeline's author gets no more than a pod's author in the namespace."""

    labels: dict[str, str] = Field(default_factory=dict, max_length=32, description="More labels on the pods.")
    annotations: dict[str, str] = Field(
        default_factory=dict, max_length=32, description="More annotations on the pods."
    )
    env: tuple[Json, ...] = Field(
        default=(), max_length=64, description="More environment variables of the mediapod container."
    )
    volumes: tuple[Json, ...] = Field(
        default=(),
        max_length=16,
        description="More volumes: configMap, secret, emptyDir, persistentVolumeClaim, projected, ephemeral or image.",
    )
    volume_mounts: tuple[Json, ...] = Field(
        default=(), max_length=16, description="Where they are mounted in the mediapod container."
    )
    termination_grace_period_seconds: int = Field(
        default=1860, ge=5, le=86400, description="How long a pod may take to drain when it is deleted."
    )


class MediaPipelineSpec(ApiModel):
    """A real-time media service: what it does to frames, on which device, between how many replicas, at which latency."""

    profile: Profile = Field(default=Profile.VIDEO, description="Kind of media. Immutable.")
    paused: bool = Field(
        default=False,
        description="While true no child is written, running drains are undone and spec.replicas is not carried out.",
    )
    image: str = Field(default="", max_length=512, description="Image of the mediapod; empty: the operator's default.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="Pull policy of the image."
    )
    image_pull_secrets: tuple[Json, ...] = Field(default=(), max_length=8, description="Secrets for pulling the image.")
    replicas: int = Field(
        default=2,
        ge=0,
        le=1000,
        description="Number of replicas with autoscaling.engine None; the /scale subresource. Carried out by draining.",
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
