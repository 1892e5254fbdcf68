"""Thousands of pipelines from one: its objects, as the API server has stored them, again under other names.

One pipeline with all its children costs the API server fourteen writes. So some go through it, and the others are put
into etcd as copies of these bytes with another name, other uids and other addresses, each as long as the one that it
replaces: a stored object has its lengths in it.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterator, Mapping

import httpx

Objects = dict[bytes, bytes]  # key in etcd -> what is stored there
_UID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SERVICE = re.compile(rb"127\.96\.[12]\d\d\.[12]\d\d")
_PREFIXES = (
    "media.rtcscale.dev/mediapipelines/{}/", "serviceaccounts/{}/", "services/specs/{}/", "networkpolicies/{}/",
    "deployments/{}/", "poddisruptionbudgets/{}/", "monitoring.coreos.com/servicemonitors/{}/", "pods/{}/",
)  # fmt: skip
_ADDRESSES = b"/registry/ipaddresses/"


class Etcd:
    """The API server's database, through its JSON gateway."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def between(self, first: bytes, end: bytes, *, keys_only: bool = False) -> Objects:
        """All objects from the key `first` up to and without `end`."""
        body = {"key": _text(first), "range_end": _text(end), "keys_only": keys_only}
        answer = (await self._http.post("/v3/kv/range", json=body)).raise_for_status().json()
        return {_bytes(item["key"]): _bytes(item.get("value", "")) for item in answer.get("kvs", ())}

    async def put(self, objects: Mapping[bytes, bytes]) -> None:
        """Writes all of them at once."""
        puts = [{"requestPut": {"key": _text(key), "value": _text(value)}} for key, value in objects.items()]
        (await self._http.post("/v3/kv/txn", json={"success": puts})).raise_for_status()


class Pattern:
    """The objects of one pipeline, to be copied."""

    def __init__(self, name: str, objects: Objects) -> None:
        self._name = name.encode()
        self._objects = objects
        every = b" ".join(objects.values())
        self._uids = set(_UID.findall(every))
        self.services = set(_SERVICE.findall(every))

    def __len__(self) -> int:
        return len(self._objects)

    def copy(self, name: str, addresses: Mapping[str, str]) -> Objects:
        """The same for a pipeline called `name`; `addresses`: old to new."""
        changes = {uid: str(uuid.uuid5(uuid.UUID(uid.decode()), name)).encode() for uid in self._uids}
        changes |= {old.encode(): new.encode() for old, new in addresses.items()} | {self._name: name.encode()}
        if any(len(old) != len(new) for old, new in changes.items()):
            raise ValueError(f"{name}: what replaces must be as long as what it replaces: {changes}")
        found = re.compile(b"|".join(re.escape(old) for old in changes))

        def renamed(data: bytes) -> bytes:
            return found.sub(lambda match: changes[match[0]], data)

        return {renamed(key): renamed(value) for key, value in self._objects.items()}


async def pattern(etcd: Etcd, namespace: str, name: str) -> Pattern:
    """All that is stored of a pipeline, with the record of its Service's address."""
    objects: Objects = {}
    for prefix in _PREFIXES:
        first = f"/registry/{prefix.format(namespace)}{name}".encode()
        objects |= await etcd.between(first, first + b"\xff")
    for address in set(_SERVICE.findall(b" ".join(objects.values()))):
        key = _ADDRESSES + address
        objects |= await etcd.between(key, key + b"\x00")
    return Pattern(name, objects)


async def free_services(etcd: Etcd) -> Iterator[str]:
    """Addresses of Services, all of one length, that nobody has."""
    taken = {key.decode() for key in await etcd.between(_ADDRESSES, _ADDRESSES + b"\xff", keys_only=True)}
    every = (f"127.96.{third}.{fourth}" for third in range(100, 256) for fourth in range(100, 256))
    return (address for address in every if _ADDRESSES.decode() + address not in taken)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
