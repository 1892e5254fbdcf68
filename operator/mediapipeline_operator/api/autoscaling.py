"""Part of the spec: who decides the number of replicas, and how."""

from enum import StrEnum

from pydantic import Field

from mediapipeline_operator.api.model import ApiModel, Name


class Engine(StrEnum):
    OPERATOR = "Operator"
    HPA = "HorizontalPodAutoscaler"
    KEDA = "KEDA"
    NONE = "None"


class Mode(StrEnum):
    ACTIVE = "Active"
    ADVISORY = "Advisory"


class Policy(StrEnum):
    SLO = "SLO"
    THRESHOLD = "Threshold"


class LatencySource(StrEnum):
    FRAME = "Frame"
    REQUEST = "Request"
    QUERY = "Query"


class SignalType(StrEnum):
    GPU_UTILIZATION = "GPUUtilization"
    CPU_UTILIZATION = "CPUUtilization"
    MEMORY_UTILIZATION = "MemoryUtilization"
    REQUESTS_PER_SECOND = "RequestsPerSecond"


class Vote(StrEnum):
    ASSIST = "Assist"
    DRIVE = "Drive"


class DrainTimeoutAction(StrEnum):
    KEEP = "Keep"
    FORCE = "Force"


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
        description="Which latency counts. Frame: the age of returned frames, missed frames included. Request: the "
        "time to answer HTTP requests. Query: the result of query.",
    )
    query: str = Field(
        default="",
        max_length=4096,
        description="PromQL for source Query: one series with a p95 in seconds. Every selector in it must match on the "
        'pipeline\'s own namespace, as namespace="...".',
    )
    scale_up: ScaleUpThreshold = Field(default_factory=ScaleUpThreshold, description="Threshold for more replicas.")
    scale_down: ScaleDownThreshold = Field(
        default_factory=ScaleDownThreshold, description="Threshold for fewer replicas."
    )


class Signal(ApiModel):
    """One more measurement that takes part in the decision, as a mean over the serving replicas."""

    type: SignalType = Field(
        description="What is measured. GPUUtilization: percent, from the exporter of NVIDIA's DCGM or, where it has "
        "none, the busy share of the device. CPUUtilization and MemoryUtilization: percent of what a replica requests. "
        "RequestsPerSecond: HTTP requests a replica.",
    )
    target: int = Field(
        default=70, ge=1, le=100000, description="The mean that a replica should have: percent, or requests a second."
    )
    vote: Vote = Field(
        default=Vote.ASSIST,
        description="Assist: above the target it adds at most one replica, and it can forbid the removal of one. "
        "Drive: it also asks for as many replicas as bring the mean to the target. With the engines "
        "HorizontalPodAutoscaler and KEDA every signal drives.",
    )


class Schedule(ApiModel):
    """Narrower bounds for a time that comes again."""

    name: Name = Field(description="Name of the schedule, unique in the pipeline; decisions name it.")
    cron: str = Field(
        min_length=9,
        max_length=128,
        pattern=r"^[!-~]+( +[!-~]+){4}$",
        description="When it begins: minute, hour, day of month, month, day of week. Example: 0 8 * * MON-FRI",
    )
    time_zone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z][A-Za-z0-9_+\-/]*$",
        description="Time zone of cron by its name in the tz database, for example Europe/Berlin.",
    )
    duration_seconds: int = Field(ge=60, le=604800, description="For how long it holds after each beginning.")
    min_replicas: int | None = Field(
        default=None, ge=1, le=1000, description="Fewest serving replicas meanwhile. Absent: as always."
    )
    max_replicas: int | None = Field(
        default=None, ge=1, le=1000, description="Most replicas meanwhile. Absent: as always."
    )


class SessionTargets(ApiModel):
    """Feed-forward on sessions."""

    target_utilization_percent: int = Field(
        default=70, ge=10, le=100, description="Share of a replica's capacity that should be used."
    )
    buffer: int = Field(default=0, ge=0, le=10000, description="Free session slots to keep ready.")


class Drain(ApiModel):
    """How a replica leaves: it takes no new sessions, and is deleted when its sessions have ended."""

    timeout_seconds: int = Field(default=1800, ge=1, le=86400, description="After this time onTimeout applies.")
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
        default=Engine.OPERATOR,
        description="Operator decides from p95 and sessions. HorizontalPodAutoscaler and KEDA: the operator creates "
        "one that sets spec.replicas. None leaves spec.replicas to people. All are carried out by draining.",
    )
    mode: Mode = Field(
        default=Mode.ACTIVE,
        description="Advisory decides, explains and publishes, but does not touch the replicas; "
        "only with engine Operator.",
    )
    policy: Policy = Field(
        default=Policy.SLO,
        description="SLO: sessions lead and latency corrects. Threshold: the latency rule alone, with its guards.",
    )
    min_replicas: int = Field(default=2, ge=1, le=1000, description="Fewest serving replicas.")
    max_replicas: int = Field(default=10, ge=1, le=1000, description="Most replicas, draining ones included.")
    latency: Latency = Field(default_factory=Latency, description="The latency thresholds.")
    signals: tuple[Signal, ...] = Field(
        default=(),
        max_length=4,
        description="Further measurements that take part in the decision.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    sessions: SessionTargets = Field(
        default_factory=SessionTargets, description="Feed-forward on sessions (policy SLO)."
    )
    drain: Drain = Field(default_factory=Drain, description="How replicas leave.")
    fallback: Fallback = Field(default_factory=Fallback, description="What to do while metrics are missing.")
    schedules: tuple[Schedule, ...] = Field(
        default=(),
        max_length=8,
        description="Times with narrower bounds. Where several hold at once, the highest minReplicas and the lowest "
        "maxReplicas count; if these cross, the minimum wins.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
