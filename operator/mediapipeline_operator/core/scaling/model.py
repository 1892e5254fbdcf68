"""Input and output of the scaling law: plain, frozen facts. Times are timezone-aware UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mediapipeline_operator.api.reasons import ConditionType, EventReason
from mediapipeline_operator.core.scaling.reasons import Blocker, DecisionAction, Limit, Reason


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod of the Deployment as Kubernetes and, where it was asked in this pass, the pod itself tell."""

    name: str
    uid: str
    created: datetime
    ready: bool
    ready_since: datetime | None = None
    terminating: bool = False
    draining: bool = False  # the label
    drain_started: datetime | None = None  # the annotation
    goes_first: bool = False  # its deletion cost is below that of other draining pods
    revision_current: bool = True
    sessions: int | None = None  # active + pending by the pod's own answer; None: not asked, or no answer
    admin_draining: bool | None = None  # the pod's own answer
    address: str | None = None


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """The Deployment: `replicas` is its spec.replicas; `pods` are its live pods, terminating ones included."""

    replicas: int
    rollout_in_progress: bool = False
    rollout_since: datetime | None = None
    pods: tuple[PodFacts, ...] = ()


class ProblemKind(StrEnum):
    """Why a batch of queries has no answer for a pipeline."""

    DOWN = "PrometheusDown"
    TIMEOUT = "PrometheusTimeout"
    UNAUTHORIZED = "PrometheusUnauthorized"
    QUERY_ERROR = "PrometheusQueryError"
    SEVERAL_SERIES = "SeveralSeries"
    VALUE = "QueryValueInvalid"
    TOO_MANY = "TooManyQueries"
    NOT_CONFIGURED = "PrometheusNotConfigured"


@dataclass(frozen=True, slots=True)
class Problem:
    kind: ProblemKind
    message: str


@dataclass(frozen=True, slots=True)
class PodSignals:
    """What Prometheus has of one pod. None: no such series, or not a finite number."""

    up: bool | None = None
    age_seconds: float | None = None  # of its newest sample
    sessions: float | None = None
    pending: float | None = None
    capacity: float | None = None
    draining: bool | None = None
    received_per_second: float | None = None
    on_time_per_second: float | None = None  # ok frames within the upper threshold
    requests_per_second: float | None = None  # HTTP requests
    gpu_percent: float | None = None  # by DCGM
    cpu_cores: float | None = None  # used
    memory_bytes: float | None = None  # resident
    rejected_per_second: float | None = None
    busy_share: float | None = None  # of its device, 0..1


@dataclass(frozen=True, slots=True)
class Signals:
    """One batch of measurements for one pipeline: per pod, and the histogram of the fleet.

    With latency.source Request, "received" and "ok" count HTTP requests instead of frames.
    """

    window_seconds: float = 0.0
    problem: Problem | None = None
    pods: Mapping[str, PodSignals] = field(default_factory=dict)
    received_per_second: float | None = None  # of the fleet; None: no such series
    ok_per_second: Mapping[float, float] = field(default_factory=dict)  # bucket bound in seconds -> rate up to it
    sessions_growth_per_second: float | None = None  # mean over the last minute
    latency_seconds: float | None = None  # the pipeline's own query, with source Query; None: it has no samples
    taken: datetime | None = None  # when the batch was answered; None: now

    @classmethod
    def missing(cls, kind: ProblemKind, message: str = "") -> Signals:
        """Signals of a batch that failed."""
        return cls(problem=Problem(kind, message or kind.value))


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Write the Deployment's /scale. `expect`: the number that the decision was taken on."""

    to: int
    expect: int


@dataclass(frozen=True, slots=True)
class MarkDraining:
    """One patch with a uid precondition: draining label, drain-started-at annotation, deletion cost -1000."""

    pod: str
    uid: str
    at: datetime


@dataclass(frozen=True, slots=True)
class MarkFirst:
    """One patch with a uid precondition: deletion cost -2000. Of several draining pods this one, empty, is to go."""

    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class Unmark:
    """Removes what MarkDraining and MarkFirst wrote."""

    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class RequestDrain:
    """POST /drain on the pod's admin port."""

    pod: str
    uid: str
    address: str


@dataclass(frozen=True, slots=True)
class RequestUndrain:
    """DELETE /drain on the pod's admin port."""

    pod: str
    uid: str
    address: str


Action = SetReplicas | MarkDraining | MarkFirst | Unmark | RequestDrain | RequestUndrain


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one rule asks for, in serving replicas."""

    reason: Reason
    replicas: int
    message: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The fleet with one replica fewer. Shares are 0..1 and may exceed 1; None: not measured."""

    replicas: int
    utilization: float | None
    device_busy: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome after all limits. `from_replicas` and `to_replicas` count serving replicas, without draining ones."""

    id: str
    time: datetime
    action: DecisionAction
    from_replicas: int
    to_replicas: int
    reason: Reason
    message: str
    limited_by: tuple[Limit, ...] = ()
    blocked_by: tuple[Blocker, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    prediction: Prediction | None = None
    next_scale_up: datetime | None = None
    next_scale_down: datetime | None = None


@dataclass(frozen=True, slots=True)
class ConditionInput:
    """A condition to set; status None is Unknown."""

    type: ConditionType
    status: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class EventInput:
    """A Kubernetes event to post; `warning` chooses the type Warning."""

    reason: EventReason
    warning: bool
    message: str


@dataclass(frozen=True, slots=True)
class DrainRecord:
    """A drain as kept in status. `removing`: replicas were lowered for it, the pod has yet to go."""

    pod: str
    uid: str
    started: datetime
    sessions: int | None = None
    removing: bool = False


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    id: str
    time: datetime
    action: DecisionAction
    from_replicas: int
    to_replicas: int
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class FeedbackStep:
    """What the last step of the latency feedback saw: the worst pod's missed share, and the sessions of the fleet."""

    miss_per_mille: int
    sessions: int
