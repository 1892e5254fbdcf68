"""Words of scaling decisions: data states, actions, reasons, blockers. They are API: never renamed."""

from enum import StrEnum


class DataState(StrEnum):
    """How far the measurements of this tick can be trusted. Unknown is never zero."""

    STARTING = "Starting"
    FRESH = "Fresh"
    PARTIAL = "Partial"
    IDLE = "Idle"
    LOW_SAMPLE = "LowSample"
    STALE = "Stale"
    MISSING = "Missing"


class DecisionAction(StrEnum):
    """What a decision does to the number of serving replicas."""

    UP = "Up"
    DOWN = "Down"
    REMOVE = "Remove"  # a drained replica leaves; the number of serving replicas does not change
    HOLD = "Hold"


class Reason(StrEnum):
    """Why a decision was taken. One word, the message has the numbers."""

    LATENCY_HIGH = "LatencyHigh"
    LATENCY_VERY_HIGH = "LatencyVeryHigh"
    SESSIONS_NEED_CAPACITY = "SessionsNeedCapacity"
    NO_FREE_SESSION = "NoFreeSession"
    DEMAND_REJECTED = "DemandRejected"
    SIGNAL_HIGH = "SignalHigh"
    BELOW_MINIMUM = "BelowMinimum"
    ABOVE_MAXIMUM = "AboveMaximum"
    FALLBACK = "Fallback"
    REPLICAS_REQUESTED = "ReplicasRequested"
    LATENCY_LOW = "LatencyLow"
    NO_TRAFFIC = "NoTraffic"
    REPLICA_DRAINED = "ReplicaDrained"
    DRAIN_FORCED = "DrainForced"
    VICTIM_SWAPPED = "VictimSwapped"
    WITHIN_TARGETS = "WithinTargets"
    SCALE_UP_PENDING = "ScaleUpPending"
    SCALE_DOWN_PENDING = "ScaleDownPending"
    SCALE_DOWN_BLOCKED = "ScaleDownBlocked"
    CAPACITY_EXHAUSTED = "CapacityExhausted"
    SCALE_UP_INEFFECTIVE = "ScaleUpIneffective"
    STARTING = "Starting"
    METRICS_PARTIAL = "MetricsPartial"
    METRICS_STALE = "MetricsStale"
    METRICS_MISSING = "MetricsMissing"
    PAUSED = "Paused"


class Blocker(StrEnum):
    """What stands between the present number and another one."""

    DATA_STATE = "DataState"
    LATENCY_NOT_LOW = "LatencyNotLow"
    HEALTHY_TOO_SHORT = "HealthyTooShort"
    BREACH_TOO_SHORT = "BreachTooShort"
    REPLICAS_STARTING = "ReplicasStarting"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    DRAINS_AT_MAXIMUM = "DrainsAtMaximum"
    SESSIONS_AFTER_REMOVAL = "SessionsAfterRemoval"
    DEVICE_AFTER_REMOVAL = "DeviceAfterRemoval"
    SIGNALS_AFTER_REMOVAL = "SignalsAfterRemoval"
    SIGNAL_UNKNOWN = "SignalUnknown"
    DEMAND_REJECTED = "DemandRejected"
    AT_MINIMUM = "AtMinimum"
    INEFFECTIVE = "Ineffective"


class Limit(StrEnum):
    """What cut a proposal."""

    MAX_REPLICAS = "MaxReplicas"
    MIN_REPLICAS = "MinReplicas"
    RATE = "Rate"
    UNCONFIRMED = "Unconfirmed"
    INEFFECTIVE = "Ineffective"
