"""What each media worker gets of what the pod has. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mediapod.settings import Settings


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's part. ports: first and last media port, None for any; cpu: the only one it runs on, None for any."""

    index: int
    sessions: int
    ports: tuple[int, int] | None
    cpu: int | None


def shares(settings: Settings, cpus: frozenset[int] | None = None) -> list[Share]:
    """One share for each worker: MEDIAPOD_WORKERS, but no worker without a session or a media port. Together they have
    exactly what the pod has. cpus: those that may be used, default this process's.
    """
    ports = settings.media_ports
    count = min(settings.workers, settings.max_sessions, ports[1] - ports[0] + 1 if ports else settings.workers)
    usable = sorted(os.sched_getaffinity(0) if cpus is None else cpus)
    return [
        Share(
            index,
            _part(settings.max_sessions, count, index),
            _ports(ports, count, index) if ports else None,
            usable[index % len(usable)] if settings.pin_workers else None,
        )
        for index in range(count)
    ]


def _part(whole: int, count: int, index: int) -> int:
    """Parts differ by at most one and add up."""
    return whole // count + (index < whole % count)


def _ports(ports: tuple[int, int], count: int, index: int) -> tuple[int, int]:
    whole = ports[1] - ports[0] + 1
    first = ports[0] + sum(_part(whole, count, earlier) for earlier in range(index))
    return first, first + _part(whole, count, index) - 1
