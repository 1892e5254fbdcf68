"""Aggregated APIs served by local processes: how the API server finds them, and waiting until it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from devcluster.controlplane.processes import ChildProcess, log_tail

Manifest = dict[str, Any]
POLL_SECONDS = 0.2


class AutoscalerError(Exception):
    """A server does not start or is not found by the API server; the message ends with its last log lines."""


def api_services(service: Manifest, group: str, versions: Sequence[str]) -> Iterator[Manifest]:
    """An APIService for each version of a group, served by a Service of `service()`."""
    port = service["spec"]["ports"][0]["port"]
    meta = service["metadata"]
    for version in versions:
        spec = {
            "group": group,
            "version": version,
            "service": {"name": meta["name"], "namespace": meta["namespace"], "port": port},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        }
        yield {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{group}"},
            "spec": spec,
        }


def service(name: str, namespace: str, port: int) -> Manifest:
    """A Service of this host: kube-apiserver connects to the name, there is no cluster network here."""
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def wait_for(condition: Callable[[], bool], process: ChildProcess, what: str, timeout_seconds: float) -> None:
    """Polls until the condition holds. Raises AutoscalerError when the process ends or the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if not process.alive() or time.monotonic() > deadline:
            state = "has ended" if not process.alive() else f"is not there after {timeout_seconds:.0f} s"
            raise AutoscalerError(f"{what} {state}\nlog: {process.log_path}\n{log_tail(process.log_path)}")
        time.sleep(POLL_SECONDS)
