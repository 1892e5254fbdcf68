"""Condition types, and the catalogue of reasons for conditions, events and decisions.

They are API: documented, never renamed.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


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


CONDITION_MEANINGS: Mapping[ConditionType, str] = MappingProxyType(
    {
        ConditionType.READY: "The spec is valid, enough replicas are ready, and the children are as the spec wants "
        "them. Measurements do not enter. What `kubectl wait --for=condition=Ready` waits for.",
        ConditionType.AVAILABLE: "As many replicas are ready as minReplicas (engine None: replicas) asks for.",
        ConditionType.PROGRESSING: "A change is under way: pods start, roll out, or wait for their turn to.",
        ConditionType.RECONCILING: "The same as Progressing, for kstatus; present only while True.",
        ConditionType.STALLED: "A person has to change something; the message says what. Present only while True.",
        ConditionType.SCALING_ACTIVE: "Somebody decides the number of replicas, and carries it out.",
        ConditionType.SCALING_LIMITED: "maxReplicas, or the limit of a step, keeps the number below what is asked for.",
        ConditionType.METRICS_AVAILABLE: "Measurements are complete and fresh. Without them nothing is scaled down.",
        ConditionType.MONITORING_AVAILABLE: "The ServiceMonitor is there, or none is wanted.",
        ConditionType.DRAINING: "At least one replica takes no new sessions and waits for its last ones to end.",
        ConditionType.DEGRADED: "Something is wrong for longer than a start takes: a pod has no node, an image cannot "
        "be pulled, a write is refused.",
        ConditionType.PAUSED: "spec.paused is true: no child is written and nothing is scaled.",
        ConditionType.CONFLICTING_AUTOSCALER: "Somebody else's autoscaler scales this pipeline too, so ours does not.",
    }
)
EVENT_MEANINGS: Mapping[EventReason, str] = MappingProxyType(
    {
        EventReason.SCALED_UP: "The number of replicas was raised, or a draining replica serves again.",
        EventReason.SCALED_DOWN: "An empty, drained replica was removed.",
        EventReason.SCALE_UP_BLOCKED: "More replicas are due, but the limit of a step holds them back.",
        EventReason.SCALE_DOWN_BLOCKED: "Fewer replicas are due, but what is left would be too full, or pods roll out.",
        EventReason.METRICS_MISSING: "There are no measurements; the number is held.",
        EventReason.METRICS_STALE: "Measurements are too old; the number is held.",
        EventReason.METRICS_RECOVERED: "Measurements are back.",
        EventReason.FALLBACK_ACTIVATED: "Measurements were missing for so long that fallback.replicas applies.",
        EventReason.FALLBACK_DEACTIVATED: "Measurements are back, and the fallback has ended.",
        EventReason.DRAIN_STARTED: "A replica takes no new sessions any more, to be removed.",
        EventReason.DRAIN_COMPLETED: "A drained replica has gone.",
        EventReason.DRAIN_TIMED_OUT: "A replica still has sessions after drain.timeoutSeconds; onTimeout applies.",
        EventReason.DRAIN_CANCELLED: "A draining replica serves again, or went away by itself.",
        EventReason.SCALE_UP_INEFFECTIVE: "More replicas did not help latency, so no further ones are added for it.",
        EventReason.CAPACITY_EXHAUSTED: "More replicas are needed than maxReplicas allows.",
        EventReason.CONFLICTING_AUTOSCALER: "Somebody else's autoscaler scales this pipeline or its Deployment.",
        EventReason.INVALID_PIPELINE: "The spec names an effect, a parameter or a query that does not exist; children "
        "stay as they are.",
        EventReason.CHILD_REPAIRED: "A child was deleted or edited by hand, and was restored.",
        EventReason.CHILD_REFUSED: "An object with the name of a child exists and is not this pipeline's; it is left "
        "alone.",
        EventReason.AUTOSCALING_PAUSED: "spec.paused was set: drains are undone and nothing is scaled.",
        EventReason.AUTOSCALING_RESUMED: "spec.paused was taken back.",
        EventReason.ADVISORY_RECOMMENDATION: "With mode Advisory: what would have been done.",
    }
)
