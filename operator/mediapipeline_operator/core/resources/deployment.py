"""The Deployment of a pipeline. It never names `replicas`: they belong to scaling, which writes them through /scale."""

from typing import Any

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.spec import Device, MediaPipelineSpec, Profile
from mediapipeline_operator.core.resources.container import SCRATCH, mediapod
from mediapipeline_operator.core.resources.frame import child, metadata
from mediapipeline_operator.core.resources.settings import BuildSettings, Manifest
from mediapipeline_operator.core.resources.stored import as_stored

# Evicting a pod to tidy up nodes ends live sessions, so autoscalers of nodes leave these pods alone.
_KEEP_IN_PLACE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
_GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
# Where voice runs: nodes kept for it, without neighbours that steal its time.
_VOICE_NODES = {"node-type": "low-latency"}
_VOICE_TOLERATION = {"key": "dedicated", "operator": "Equal", "value": "voice-ai", "effect": "NoSchedule"}
_MEDIA_GROUP = 10001  # the group of the image's user: mounted volumes are readable for it


def deployment(pipeline: MediaPipeline, settings: BuildSettings) -> Manifest:
    rollout = pipeline.spec.rollout
    spec = {
        "selector": {"matchLabels": labels.selector(pipeline.key.name)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": rollout.max_surge, "maxUnavailable": rollout.max_unavailable},
        },
        "template": {"metadata": _template_metadata(pipeline), "spec": _pod(pipeline, settings)},
    }
    return child("apps/v1", "Deployment", metadata(pipeline, labels.COMPONENT_MEDIA), spec=spec)


def _template_metadata(pipeline: MediaPipeline) -> dict[str, Any]:
    """The pod author's labels and annotations, under ours. The product's own prefix is ours alone: a template that said
    `draining` would make every pod look like a leaving one."""
    wanted = pipeline.spec.pod
    theirs = {key: value for key, value in sorted(wanted.labels.items()) if not _reserved(key)}
    notes = {key: value for key, value in wanted.annotations.items() if not _reserved(key)}
    return {
        "labels": {**theirs, **labels.for_child(pipeline.key.name, labels.COMPONENT_MEDIA)},
        "annotations": dict(sorted({**_KEEP_IN_PLACE, **notes}.items())),
    }


def _reserved(key: str) -> bool:
    return key.startswith(f"{labels.GROUP}/") or key == labels.DELETION_COST


def _pod(pipeline: MediaPipeline, settings: BuildSettings) -> dict[str, Any]:
    spec = pipeline.spec
    pod = {
        "serviceAccountName": pipeline.key.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.pod.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": _MEDIA_GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": [as_stored(secret) for secret in spec.image_pull_secrets],
        **_placement(pipeline),
        "containers": [mediapod(pipeline, settings)],
        "volumes": _volumes(pipeline),
    }
    return {key: value for key, value in pod.items() if value not in ({}, [], "")}


def _volumes(pipeline: MediaPipeline) -> list[dict[str, Any]]:
    """The scratch folder and the pod author's volumes; one of theirs called `tmp` takes its place."""
    theirs = {volume["name"]: as_stored(volume) for volume in pipeline.spec.pod.volumes}
    return list({SCRATCH: {"name": SCRATCH, "emptyDir": {}}, **theirs}.values())


def _placement(pipeline: MediaPipeline) -> dict[str, Any]:
    wanted = pipeline.spec.scheduling
    return {
        "nodeSelector": _node_selector(pipeline.spec),
        "tolerations": _tolerations(pipeline.spec),
        "affinity": as_stored(wanted.affinity),
        "topologySpreadConstraints": _spread(pipeline),
        "priorityClassName": wanted.priority_class_name,
        "runtimeClassName": wanted.runtime_class_name,
    }


def _node_selector(spec: MediaPipelineSpec) -> dict[str, str]:
    ours = _VOICE_NODES if spec.profile is Profile.VOICE else {}
    return dict(sorted({**ours, **spec.scheduling.node_selector}.items()))


def _tolerations(spec: MediaPipelineSpec) -> list[dict[str, Any]]:
    """GPU nodes are commonly tainted with nvidia.com/gpu so that only GPU pods land there."""
    given = [as_stored(toleration) for toleration in spec.scheduling.tolerations]
    ours = [_GPU_TOLERATION] if spec.compute.device is Device.GPU else []
    ours += [_VOICE_TOLERATION] if spec.profile is Profile.VOICE else []
    return [*(toleration for toleration in ours if toleration not in given), *given]


def _spread(pipeline: MediaPipeline) -> list[dict[str, Any]]:
    """The user's constraints, else: over zones and nodes where possible, never at the price of a pending pod."""
    given = [as_stored(constraint) for constraint in pipeline.spec.scheduling.topology_spread_constraints]
    selecting = {"matchLabels": labels.selector(pipeline.key.name)}
    defaults = [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selecting}
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
    return given or defaults
