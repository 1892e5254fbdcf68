"""The PodDisruptionBudget: node drains take one serving pod at a time."""

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources.frame import child, metadata
from mediapipeline_operator.core.resources.settings import Manifest


def disruption_budget(pipeline: MediaPipeline, draining: int) -> Manifest:
    """`draining` replicas are unready by design; without adding them a scale-down would block every eviction."""
    spec = {
        "maxUnavailable": 1 + draining,
        "selector": {"matchLabels": labels.selector(pipeline.key.name)},
        "unhealthyPodEvictionPolicy": "IfHealthyBudget",
    }
    return child("policy/v1", "PodDisruptionBudget", metadata(pipeline, labels.COMPONENT_MEDIA), spec=spec)
