"""What the demo sees once a second: the resource as users see it, and the load as the clients see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """The load generator's own counts, since its start. Round trips in milliseconds over the last five seconds."""

    wanted: int = 0
    connected: int = 0
    rejected: int = 0
    frames_sent: int = 0
    frames_returned: int = 0
    ended_by_server: int = 0
    effect_missing: int = 0
    round_trip_p95_milliseconds: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One look. `time_seconds` counts from the start of the load."""

    time_seconds: float
    replicas: int = 0
    ready: int = 0
    desired: int = 0
    sessions: str = "-"
    p95_milliseconds: int | None = None
    p95: str = "-"
    miss_per_mille: int | None = None
    data_state: str = "-"
    summary: str = "-"
    draining: int = 0
    decision: Json = field(default_factory=dict)
    drains: tuple[Json, ...] = ()
    history: tuple[Json, ...] = ()
    conditions: Json = field(default_factory=dict)
    load: LoadStatus = LoadStatus()


def observe(time_seconds: float, resource: Json, load: LoadStatus) -> Observation:
    """Reads the status of a MediaPipeline (JSON as the API server returns it)."""
    status = resource.get("status") or {}
    latency, scaling = status.get("latency") or {}, status.get("autoscaling") or {}
    drains = tuple(scaling.get("drains") or ())
    return Observation(
        time_seconds=time_seconds,
        replicas=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        desired=status.get("desiredReplicas", 0),
        sessions=(status.get("sessions") or {}).get("summary", "-"),
        p95_milliseconds=latency.get("p95Milliseconds"),
        p95=latency.get("summary", "-"),
        miss_per_mille=latency.get("missPerMille"),
        data_state=scaling.get("dataState", "-"),
        summary=scaling.get("summary", "-"),
        draining=len(drains),
        decision=scaling.get("decision") or {},
        drains=drains,
        history=tuple(scaling.get("history") or ()),
        conditions={c["type"]: c for c in status.get("conditions") or ()},
        load=load,
    )
