"""The files that a configMap, secret, downwardAPI or projected volume shows. No I/O: objects come as arguments."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from devcluster.node.downward import PodFacts, field_value, resource_value
from devcluster.node.environment import MissingReferenceError, ObjectKey
from devcluster.node.json_types import Json

DEFAULT_MODE = 0o644


@dataclass(frozen=True)
class FileContent:
    """One file of a volume."""

    content: bytes
    mode: int = DEFAULT_MODE


Files = dict[str, FileContent]
"""Path inside the volume to file."""


@dataclass(frozen=True)
class TokenRequest:
    """The serviceAccountToken source of a projected volume."""

    path: str
    audience: str | None
    expiration_seconds: int
    mode: int


def object_bytes(kind: str, item: Json) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret object."""
    decoded = {key: base64.b64decode(value) for key, value in (item.get("binaryData") or {}).items()}
    data = item.get("data") or {}
    if kind == "Secret":
        return decoded | {key: base64.b64decode(value) for key, value in data.items()}
    return decoded | {key: value.encode() for key, value in data.items()}


Objects = Mapping[ObjectKey, Mapping[str, bytes] | None]
"""Entries of each referenced object; None: it does not exist."""


def sources_of(volume: Json) -> list[Json]:
    """A volume's sources in the form that projected volumes have; empty for kinds without files of their own."""
    if projected := volume.get("projected"):
        return list(projected.get("sources") or ())
    if config_map := volume.get("configMap"):
        return [{"configMap": config_map}]
    if secret := volume.get("secret"):
        return [{"secret": {**secret, "name": secret["secretName"]}}]
    if downward := volume.get("downwardAPI"):
        return [{"downwardAPI": downward}]
    return []


def default_mode(volume: Json) -> int:
    """The mode of files that name none."""
    for kind in ("projected", "configMap", "secret", "downwardAPI"):
        if source := volume.get(kind):
            return int(source.get("defaultMode", DEFAULT_MODE))
    return DEFAULT_MODE


def volume_objects(sources: Iterable[Json]) -> set[ObjectKey]:
    """The objects that ``volume_files`` needs."""
    kinds = {"configMap": "ConfigMap", "secret": "Secret"}
    return {ObjectKey(kind, source[key]["name"]) for source in sources for key, kind in kinds.items() if key in source}


def token_requests(sources: Iterable[Json], mode: int) -> list[TokenRequest]:
    """The tokens among the sources."""
    found = [source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source]
    return [TokenRequest(t["path"], t.get("audience"), t.get("expirationSeconds", 3600), mode) for t in found]


def volume_files(sources: Iterable[Json], objects: Objects, facts: PodFacts, mode: int) -> Files:
    """All files but tokens; later sources win. Raises MissingReferenceError and FieldError."""
    files: Files = {}
    for source in sources:
        if config_map := source.get("configMap"):
            files |= _object_files("ConfigMap", config_map, objects, mode)
        elif secret := source.get("secret"):
            files |= _object_files("Secret", secret, objects, mode)
        elif downward := source.get("downwardAPI"):
            files |= _downward_files(downward, facts, mode)
    return files


def _object_files(kind: str, source: Json, objects: Objects, mode: int) -> Files:
    content = objects.get(ObjectKey(kind, source["name"]))
    if content is None:
        if source.get("optional"):
            return {}
        raise MissingReferenceError(f'{kind.lower()} "{source["name"]}" not found')
    items = source.get("items")
    if not items:
        return {key: FileContent(value, mode) for key, value in content.items()}
    missing = [item["key"] for item in items if item["key"] not in content]
    if missing and not source.get("optional"):
        raise MissingReferenceError(f'{kind.lower()} "{source["name"]}" has no key {missing[0]!r}')
    return {
        item["path"]: FileContent(content[item["key"]], item.get("mode", mode))
        for item in items
        if item["key"] in content
    }


def _downward_files(source: Json, facts: PodFacts, mode: int) -> Files:
    files: Files = {}
    for item in source.get("items") or ():
        if field := item.get("fieldRef"):
            text = field_value(field["fieldPath"], facts)
        else:
            text = resource_value(item["resourceFieldRef"], None, facts)
        files[item["path"]] = FileContent(text.encode(), item.get("mode", mode))
    return files
