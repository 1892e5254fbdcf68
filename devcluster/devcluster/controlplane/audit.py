"""Which requests changed something: kube-apiserver's audit log, read as mutations (tests assert zero writes)."""

import datetime
import json
from collections.abc import Iterator
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


def read_mutations(audit_log: Path) -> list[Mutation]:
    """All mutations in the log, oldest first; a line that is still being written is left out."""
    return list(_mutations(audit_log))


def _mutations(audit_log: Path) -> Iterator[Mutation]:
    if not audit_log.is_file():
        return
    for line in audit_log.read_bytes().split(b"\n")[:-1]:
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
