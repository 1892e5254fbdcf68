"""Drift: does the live object still say what we applied?

The API server keeps in managedFields the exact paths that our field manager owns. The live values at those paths are
projected and compared with the manifest. That one comparison finds three kinds of drift: a value of ours that differs,
a path that the manifest has and we no longer own (somebody else changed or removed it), and a path that we still own
and the manifest no longer has. Fields of others never enter. Only a digest is kept for each child, so that thousands of
children cost bytes, not megabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec

from mediapipeline_operator.core.quantity import canonical_quantity

Json = Any
_ByKeys = dict[tuple[Any, ...], list[Any]]
_QUANTITY_MAPS = frozenset({"requests", "limits", "hard"})
_QUANTITIES = frozenset({"sizeLimit", "storage"})
_INT_OR_STRING = frozenset({"maxSurge", "maxUnavailable", "minAvailable", "targetPort", "port"})
# Filled in by the server inside parts that we own as a whole, where managedFields cannot tell ours from its own.
_SERVER_DEFAULTS_ANYWHERE = {"protocol": "TCP"}
_SERVER_DEFAULTS_IN = {"fieldRef": {**_SERVER_DEFAULTS_ANYWHERE, "apiVersion": "v1"}}
_SPELLED = _QUANTITIES | _INT_OR_STRING
_IDENTITY = frozenset({"apiVersion", "kind"})


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Digest of what an apply of `manifest` must leave in the fields that we own."""
    body = {key: value for key, value in manifest.items() if key not in _IDENTITY}
    meta = {key: value for key, value in body.get("metadata", {}).items() if key not in ("name", "namespace")}
    return _digest({**body, "metadata": meta})


def owned_digest(live: Mapping[str, Any], manager: str) -> str:
    """Digest of the live values at the paths that `manager` owns by server-side apply."""
    owned: dict[str, Any] = {"metadata": {}}
    for fields in _applied_fields(live, manager):
        projected = _project(live, fields)
        owned = {**owned, **projected}
    return _digest(owned)


def owns_replicas(live: Mapping[str, Any]) -> bool:
    """Whether anybody has ever set spec.replicas: the value that the server defaults has no owner."""
    entries = live.get("metadata", {}).get("managedFields") or ()
    return any("f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {}) for entry in entries)


def _applied_fields(live: Mapping[str, Any], manager: str) -> Iterator[Mapping[str, Any]]:
    for entry in live.get("metadata", {}).get("managedFields") or ():
        ours = entry.get("manager") == manager and entry.get("operation") == "Apply"
        if ours and not entry.get("subresource"):
            yield entry.get("fieldsV1") or {}


def _project(value: Json, fields: Mapping[str, Any]) -> Json:
    """The part of `value` under the field set `fields` (fieldsV1). A leaf is owned with all that it holds."""
    first = next((path for path in fields if path != "."), None)
    if first is None:
        return "" if value is None else value  # owned, and dropped by the server because it was empty
    if first.startswith("f:"):
        return _project_map(value, fields)
    return list(_project_list(value, fields))


def _project_map(value: Json, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An owned path without a live value stays, empty: the server drops empty values that it was sent."""
    source = value if isinstance(value, dict) else {}
    return {path[2:]: _project(source.get(path[2:]), below) for path, below in fields.items() if path.startswith("f:")}


def _project_list(value: Json, fields: Mapping[str, Any]) -> Iterator[Json]:
    items = value if isinstance(value, list) else []
    by_keys: dict[tuple[str, ...], _ByKeys] = {}  # dozens of variables, each found by its name
    for path, below in fields.items():
        mark, _, key = path.partition(":")
        if mark == "k":
            keys = _parsed(key)
            names = tuple(keys)
            if names not in by_keys:
                by_keys[names] = _by_keys(items, names)
            yield from (_project(item, below) for item in by_keys[names].get(tuple(keys.values()), ()))
        elif mark == "v":
            wanted = _parsed(key)
            yield from (item for item in items if item == wanted)


@lru_cache(maxsize=4096)
def _parsed(key: str) -> Json:
    """The same few keys are in thousands of objects. The result is only compared with."""
    return msgspec.json.decode(key)


def _by_keys(items: list[Json], names: tuple[str, ...]) -> _ByKeys:
    """The items by the values of the fields that tell them apart, which are scalars in every schema."""
    found: _ByKeys = {}
    for item in items:
        if isinstance(item, dict):
            found.setdefault(tuple(item.get(name) for name in names), []).append(item)
    return found


def _digest(value: Json) -> str:
    return hashlib.blake2b(_text(_normalised(value)), digest_size=12).hexdigest()


def _text(value: Json) -> bytes:
    """JSON with sorted keys."""
    return msgspec.json.encode(value, order="deterministic")


def _normalised(value: Json, name: str = "", *, quantities: bool = False) -> Json:
    """One form for all spellings of a value: quantities, int-or-string, empty values, the order of named items."""
    kind = type(value)
    if kind is dict:
        return _normalised_map(value, name)
    if kind is list:
        return _ordered([_normalised(item) for item in value]) or None
    return _normalised_scalar(value, name, quantities=quantities)


def _normalised_map(value: Mapping[str, Any], name: str) -> Json:
    quantities = name in _QUANTITY_MAPS
    defaults = _SERVER_DEFAULTS_IN.get(name, _SERVER_DEFAULTS_ANYWHERE)
    # Strings, which most values are, without a call: thousands of children have a hundred each.
    return {
        key: (item or None)
        if type(item) is str and not quantities and key not in _SPELLED
        else _normalised(item, key, quantities=quantities)
        for key, item in value.items()
        if item is not None and (key not in defaults or defaults[key] != item)
    } or None


def _normalised_scalar(value: Json, name: str, *, quantities: bool) -> Json:
    if not quantities and name not in _SPELLED:
        # The server drops "", 0, false, {} and [] where a field is optional; a field of ours that lost its value to
        # somebody else is not owned any more and so still differs.
        return value or None
    if quantities or name in _QUANTITIES:
        return canonical_quantity(value)
    if name in _INT_OR_STRING and isinstance(value, str) and value.isdigit():
        return int(value)
    return value or None


def _ordered(items: list[Json]) -> list[Json]:
    """Lists of objects are compared as sets: the server may place named items of others in between."""
    if len(items) < 2 or any(type(item) is not dict for item in items):
        return items
    names = [item.get("name") for item in items]
    if len(set(names)) == len(names) and all(type(name) is str for name in names):
        return sorted(items, key=itemgetter("name"))
    return sorted(items, key=_text)
