"""Values of a pod that its containers may ask for: fieldRef and resourceFieldRef."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from devcluster.node.json_types import Json
from devcluster.node.quantity import divided

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


class FieldError(ValueError):
    """A field reference that this node cannot resolve; the message names the path."""


@dataclass(frozen=True)
class PodFacts:
    """What the node decided for a pod, beside the pod itself."""

    pod: Json
    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: Mapping[str, str]


def field_value(path: str, facts: PodFacts) -> str:
    """The value of a fieldRef's ``fieldPath``. Raises FieldError."""
    metadata = facts.pod["metadata"]
    if subscript := _SUBSCRIPT.match(path):
        return str((metadata.get(subscript.group(1)) or {}).get(subscript.group(2), ""))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "metadata.labels": _lines(metadata.get("labels")),
        "metadata.annotations": _lines(metadata.get("annotations")),
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": facts.pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
    }
    if path not in values:
        raise FieldError(f"fieldPath {path!r} is not supported; known paths: {', '.join(sorted(values))}")
    return str(values[path])


def _lines(mapping: Mapping[str, str] | None) -> str:
    pairs = sorted((mapping or {}).items())
    return "\n".join(f'{key}="{_escaped(value)}"' for key, value in pairs)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(reference: Json, container: Json | None, facts: PodFacts) -> str:
    """The value of a resourceFieldRef; a limit that is not set is what the node can give. Raises FieldError."""
    name = reference.get("containerName")
    owner = _container(facts.pod, name) if name else container
    resource = str(reference["resource"])
    if owner is None:
        raise FieldError(f"resourceFieldRef {resource!r}: containerName {name!r} names no container of the pod")
    kind, _, item = resource.partition(".")
    resources = owner.get("resources") or {}
    quantity = (resources.get(kind) or {}).get(item)
    if quantity is None and kind == "limits":
        quantity = facts.allocatable.get(item)
    return str(divided(str(quantity or "0"), str(reference.get("divisor", "1"))))


def _container(pod: Json, name: str) -> Json | None:
    spec = pod["spec"]
    containers: list[Json] = [*spec.get("containers", ()), *(spec.get("initContainers") or ())]
    return next((container for container in containers if container["name"] == name), None)
