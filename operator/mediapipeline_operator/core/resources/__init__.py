"""One builder a child kind: what a pipeline wants to exist, as manifests for server-side apply."""

from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.spec import Engine, MediaPipelineSpec
from mediapipeline_operator.core.resources.account import service_account
from mediapipeline_operator.core.resources.autoscalers import autoscaler, autoscaler_kind
from mediapipeline_operator.core.resources.deployment import deployment
from mediapipeline_operator.core.resources.disruption import disruption_budget
from mediapipeline_operator.core.resources.monitor import service_monitor
from mediapipeline_operator.core.resources.network import ingress, network_policy
from mediapipeline_operator.core.resources.service import pods_service, signalling_service
from mediapipeline_operator.core.resources.settings import BuildSettings, Manifest, resolved_image

__all__ = ["BuildSettings", "Manifest", "autoscaler_kind", "desired", "initial_replicas", "resolved_image"]


def desired(
    pipeline: MediaPipeline, settings: BuildSettings, draining: int = 0, bounds: tuple[int, int] | None = None
) -> tuple[Manifest, ...]:
    """All children of `pipeline` in the order in which they are applied; pods come after what they need.

    `draining`: how many replicas drain now; the disruption budget allows for them. `bounds`: fewest and most replicas
    now, None: minReplicas and maxReplicas.
    """
    children = (
        service_account(pipeline),
        signalling_service(pipeline),
        pods_service(pipeline),
        network_policy(pipeline, settings),
        deployment(pipeline, settings),
        disruption_budget(pipeline, draining),
        service_monitor(pipeline, settings),
        ingress(pipeline),
        autoscaler(pipeline, settings, bounds),
    )
    return tuple(manifest for manifest in children if manifest is not None)


def initial_replicas(spec: MediaPipelineSpec) -> int:
    """The number that a new Deployment is scaled to in the pass that creates it; `spec` with the bounds of now.

    With another autoscaler spec.replicas is its last word: a resource that is restored begins where it was.
    """
    scaling = spec.autoscaling
    if scaling.engine is Engine.OPERATOR:
        return scaling.min_replicas
    if scaling.engine is Engine.NONE:
        return spec.replicas
    return min(max(spec.replicas, scaling.min_replicas), scaling.max_replicas)
