"""Condition types, and the catalogue of reasons for conditions, events and decisions.

They are API: documented, never renamed.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """Conditions of a MediaPipeline. Reconciling and Stalled (kstatus) are present only when True."""

    READY = "Ready"
    AVAILABLE = "Available"
    PROGRESSING = "Progressing"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SCALING_ACTIVE = "ScalingActive"
    SCALING_LIMITED = "ScalingLimited"
    METRICS_AVAILABLE = "MetricsAvailable"
    MONITORING_AVAILABLE = "MonitoringAvailable"
    DRAINING = "Draining"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    CONFLICTING_AUTOSCALER = "ConflictingAutoscaler"


class EventReason(StrEnum):
    """Reasons of Kubernetes events. Posted on change only."""

    SCALED_UP = "ScaledUp"
    SCALED_DOWN = "ScaledDown"
    SCALE_UP_BLOCKED = "ScaleUpBlocked"
    SCALE_DOWN_BLOCKED = "ScaleDownBlocked"
    METRICS_MISSING = "MetricsMissing"
    METRICS_STALE = "MetricsStale"
    METRICS_RECOVERED = "MetricsRecovered"
    FALLBACK_ACTIVATED = "FallbackActivated"
    FALLBACK_DEACTIVATED = "FallbackDeactivated"
    DRAIN_STARTED = "DrainStarted"
    DRAIN_COMPLETED = "DrainCompleted"
    DRAIN_TIMED_OUT = "DrainTimedOut"
    DRAIN_CANCELLED = "DrainCancelled"
    SCALE_UP_INEFFECTIVE = "ScaleUpIneffective"
    CAPACITY_EXHAUSTED = "CapacityExhausted"
    CONFLICTING_AUTOSCALER = "ConflictingAutoscaler"
    INVALID_PIPELINE = "InvalidPipeline"
    CHILD_REPAIRED = "ChildRepaired"
    CHILD_REFUSED = "ChildRefused"
    AUTOSCALING_PAUSED = "AutoscalingPaused"
    AUTOSCALING_RESUMED = "AutoscalingResumed"
    ADVISORY_RECOMMENDATION = "AdvisoryRecommendation"
