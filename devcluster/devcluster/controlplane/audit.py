"""Which requests changed something: kube-apiserver's audit log, read as mutations (tests assert zero writes)."""

import datetime
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VERBS = ["create", "update", "patch", "delete", "deletecollection"]


@dataclass(frozen=True)
class Mutation:
    """One answered mutating request; `code` is its HTTP status, `subresource` is empty for the object itself."""

    time: datetime.datetime
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user: str
    user_agent: str
    code: int
    body: Any


def audit_policy() -> str:
    """A policy that records mutating requests with their bodies, and nothing else; secrets without bodies."""
    quiet_resources = {"group": "", "resources": ["secrets", "serviceaccounts/token"]}
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted", "Panic"],
        "rules": [
            {"level": "Metadata", "verbs": _VERBS, "resources": [quiet_resources]},
            {"level": "Request", "verbs": _VERBS},
            {"level": "None"},
        ],
    }
    return yaml.safe_dump(policy, sort_keys=False)


class MutationLog:
    """The audit log as mutations. Each line is parsed once, however often it is asked."""

    def __init__(self, audit_log: Path) -> None:
        self._audit_log = audit_log
        self._read_bytes = 0
        self._mutations: list[Mutation] = []

    def read(self) -> list[Mutation]:
        """All mutations so far, oldest first; a line that is still being written is left out."""
        if self._audit_log.is_file():
            with self._audit_log.open("rb") as log:
                log.seek(self._read_bytes)
                whole = log.read().rpartition(b"\n")[0]
            if whole:
                self._read_bytes += len(whole) + 1
                self._mutations += _mutations(whole.split(b"\n"))
        return list(self._mutations)


def _mutations(lines: Iterable[bytes]) -> Iterator[Mutation]:
    for line in lines:
        event = json.loads(line)
        if "objectRef" in event:  # requests to paths without an object (a token review of ours) have none
            yield _mutation(event)


def _mutation(event: dict[str, Any]) -> Mutation:
    reference = event["objectRef"]
    return Mutation(
        time=datetime.datetime.fromisoformat(event["stageTimestamp"]),
        verb=event["verb"],
        resource=reference.get("resource", ""),
        subresource=reference.get("subresource", ""),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        user=event.get("user", {}).get("username", ""),
        user_agent=event.get("userAgent", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        body=event.get("requestObject"),
    )
