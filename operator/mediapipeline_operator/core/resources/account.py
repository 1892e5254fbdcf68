"""The ServiceAccount of the pods. They never talk to the API server, so no token is mounted."""

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources.frame import child, metadata
from mediapipeline_operator.core.resources.settings import Manifest


def service_account(pipeline: MediaPipeline) -> Manifest:
    return child("v1", "ServiceAccount", metadata(pipeline, labels.COMPONENT_MEDIA), automountServiceAccountToken=False)
