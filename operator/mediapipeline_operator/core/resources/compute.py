"""The compute resources of a replica: defaults by device, the GPU request, and the number of media workers."""

import re
from decimal import Decimal
from typing import Any

from mediapipeline_operator.api.spec import Device, Gpu, MediaPipelineSpec, Profile
from mediapipeline_operator.core.resources.stored import as_stored

# No CPU limit: the CFS throttles in periods of 100 ms, and a throttled decoder is a late frame.
_DEFAULTS: dict[Device, dict[str, dict[str, str]]] = {
    Device.GPU: {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}},
    Device.CPU: {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    Device.SIMULATED: {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
}
# Limits equal to requests: the Guaranteed class, evicted last. One core carries Opus echoes far below its limit, so the
# CFS does not throttle it.
_VOICE = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9}
_QUANTITY = re.compile(r"^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMG]?)$")


def container_resources(spec: MediaPipelineSpec) -> dict[str, Any]:
    """The user's resources as a whole, else the profile's or device's defaults; the GPU is always added to the
    limits.
    """
    compute = spec.compute
    chosen: dict[str, Any] = as_stored(compute.resources) or _defaults(spec)
    resources = {section: dict(chosen[section]) for section in ("requests", "limits") if chosen.get(section)}
    if compute.device is Device.GPU:
        gpu = compute.gpu or Gpu()
        resources.setdefault("limits", {})[gpu.resource_name] = str(gpu.count)
    return resources


def _defaults(spec: MediaPipelineSpec) -> dict[str, dict[str, str]]:
    return _VOICE if spec.profile is Profile.VOICE else _DEFAULTS[spec.compute.device]


def workers(resources: dict[str, Any]) -> int:
    """Media workers of a replica: whole CPUs of the limit, else of the request, at least 1."""
    cpu = resources.get("limits", {}).get("cpu") or resources.get("requests", {}).get("cpu") or "1"
    return max(1, int(cpu_cores(cpu)))


def cpu_cores(quantity: str | int) -> Decimal:
    """A Kubernetes CPU quantity in cores: "1500m" is 1.5. One that does not parse counts as one core."""
    match = _QUANTITY.match(str(quantity).strip())
    if match is None:
        return Decimal(1)
    return Decimal(match[1]).scaleb(_SUFFIXES[match[2]])
