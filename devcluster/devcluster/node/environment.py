"""A container's environment from its pod: env, envFrom and what they refer to. No I/O: objects come as arguments."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from devcluster.node.downward import PodFacts, field_value, resource_value
from devcluster.node.json_types import Json
from devcluster.node.variables import expand


class MissingReferenceError(LookupError):
    """A ConfigMap, Secret or key does not exist; the container has to wait (CreateContainerConfigError)."""


@dataclass(frozen=True)
class ObjectKey:
    """One ConfigMap or Secret of the pod's namespace."""

    kind: str
    name: str


Contents = Mapping[ObjectKey, Mapping[str, str] | None]
"""Text content of each referenced object; None: it does not exist."""

_SOURCES = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
_BULK_SOURCES = {"configMapRef": "ConfigMap", "secretRef": "Secret"}


def text_content(kind: str, item: Json) -> dict[str, str]:
    """The entries of a ConfigMap or Secret object as text; bytes that are no UTF-8 keep their place as surrogates."""
    if kind == "ConfigMap":
        return dict(item.get("data") or {})
    data = item.get("data") or {}
    return {key: base64.b64decode(value).decode(errors="surrogateescape") for key, value in data.items()}


def referenced_objects(container: Json) -> set[ObjectKey]:
    """The objects whose content ``container_environment`` asks for."""
    keys = {ObjectKey(kind, ref["name"]) for kind, ref, _ in _bulk_references(container)}
    for entry in container.get("env") or ():
        for source, kind in _SOURCES.items():
            if reference := (entry.get("valueFrom") or {}).get(source):
                keys.add(ObjectKey(kind, reference["name"]))
    return keys


def _bulk_references(container: Json) -> Iterator[tuple[str, Json, str]]:
    for entry in container.get("envFrom") or ():
        for source, kind in _BULK_SOURCES.items():
            if reference := entry.get(source):
                yield kind, reference, entry.get("prefix", "")


def container_environment(
    container: Json, facts: PodFacts, contents: Contents, initial: Mapping[str, str]
) -> dict[str, str]:
    """``initial`` (image and node), then envFrom in order, then env in order; later ones win.

    ``$(NAME)`` in values sees what was set before, as in the kubelet. Raises MissingReferenceError and FieldError.
    """
    result = dict(initial)
    for kind, reference, prefix in _bulk_references(container):
        for key, value in sorted(_bulk(kind, reference, contents).items()):
            result[prefix + key] = value
    for entry in container.get("env") or ():
        if "valueFrom" in entry:
            value_from = _value_from(entry["valueFrom"], container, facts, contents)
            if value_from is not None:
                result[entry["name"]] = value_from
        else:
            result[entry["name"]] = expand(entry.get("value", ""), result)
    return result


def _bulk(kind: str, reference: Json, contents: Contents) -> Mapping[str, str]:
    content = contents.get(ObjectKey(kind, reference["name"]))
    if content is None and not reference.get("optional"):
        raise MissingReferenceError(f'{kind.lower()} "{reference["name"]}" not found')
    return content or {}


def _value_from(source: Json, container: Json, facts: PodFacts, contents: Contents) -> str | None:
    if field := source.get("fieldRef"):
        return field_value(field["fieldPath"], facts)
    if resource := source.get("resourceFieldRef"):
        return resource_value(resource, container, facts)
    for name, kind in _SOURCES.items():
        if reference := source.get(name):
            return _key_value(kind, reference, contents)
    raise MissingReferenceError(f"valueFrom {sorted(source)} is not known to this node")


def _key_value(kind: str, reference: Json, contents: Contents) -> str | None:
    content = contents.get(ObjectKey(kind, reference["name"]))
    if content is not None and reference["key"] in content:
        return content[reference["key"]]
    if reference.get("optional"):
        return None
    if content is None:
        raise MissingReferenceError(f'{kind.lower()} "{reference["name"]}" not found')
    raise MissingReferenceError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
