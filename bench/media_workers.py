"""Sessions on all cores of the machine: a pod of one process beside a pod of two media workers.

Service and clients share the cores, under both forms alike; the clients decode nothing.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from media_load import Sessions, Window, as_row_note, clip_of, most_sessions, sessions
from media_report import row
from media_servers import OURS, UNCHANGED, serving

ONE, TWO = "one process", "two media workers"
FORMS = {ONE: {**UNCHANGED, "MEDIAPOD_WORKERS": "1"}, TWO: {**UNCHANGED, "MEDIAPOD_WORKERS": "2"}}
FIRST_GUESS, TARGET = 9, 12.0

Measure = Callable[[Sessions], Awaitable[Window]]


async def sessions_by_processes(measure: Measure) -> list[dict[str, Any]]:
    """Rows: sessions at 29.5 frames a second with p95 within 50 ms, and the latency of one session in both forms."""
    most, alone = {}, {}
    for form in FORMS:
        async with _on_all_cores(form, 1) as group:
            alone[form] = await measure(group)
            most[form] = await most_sessions(group, measure, FIRST_GUESS)
    cores = os.cpu_count()
    note = "; ".join(f"{form}: {as_row_note(window)}" for form, window in most.items())
    counts = {form: float(window.sessions) for form, window in most.items()}
    latencies = {form: window.p50 for form, window in alone.items()}
    return [
        _row(f"sessions on {cores} cores, 720p30 H264: {TWO}", "", counts, higher=True, target=TARGET, note=note),
        _row(f"added latency p50, 1 session 720p30 H264: {TWO}", "ms", latencies),
    ]


def _row(measure: str, unit: str, values: dict[str, float], **more: Any) -> dict[str, Any]:
    return row(measure, unit, [values[TWO]], {ONE: [values[ONE]]}, **more)


@asynccontextmanager
async def _on_all_cores(form: str, count: int) -> AsyncIterator[Sessions]:
    """Sessions of a pod that may use every core, as may the clients here."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        async with (
            serving(OURS, FORMS[form], core=None) as server,
            sessions(server, clip_of("720p", "H264"), count) as group,
        ):
            yield group
    finally:
        os.sched_setaffinity(0, before)
