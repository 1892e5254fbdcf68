"""What the workers say of their sessions, as the pod says it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mediapod.front.crew import Crew
from mediapod.front.member import Member


async def sessions_of(crew: Crew, *, draining: bool) -> dict[str, Any]:
    """The answer of /sessions. A worker that does not answer is there with its numbers, without its sessions."""
    reports = await asyncio.gather(*(_report(member) for member in crew.workers))
    totals = {name: sum(report[name] for report in reports) for name in ("active", "pending", "capacity")}
    return {"draining": draining, **totals, "sessions": [one for report in reports for one in report["sessions"]]}


async def status_of(crew: Crew, *, draining: bool) -> dict[str, Any]:
    """The answer of /webrtc/status: as a worker gives it, with the numbers of all."""
    answers = await asyncio.gather(*(_status(member) for member in crew.workers))
    known = [answer for answer in answers if answer is not None]
    totals = {name: sum(answer[name] for answer in known) for name in ("active", "pending", "capacity")}
    connections = [one for answer in known for one in answer["connections"]]
    return {**(known[0] if known else {}), "draining": draining, **totals, "connections": connections}


async def _report(member: Member) -> dict[str, Any]:
    text = await member.ask("/sessions")
    if text is None:
        status = member.status
        pending = status.taken - status.active
        return {"active": status.active, "pending": pending, "capacity": status.capacity, "sessions": []}
    report: dict[str, Any] = json.loads(text)
    for session in report["sessions"]:
        session["process"] = member.name
    return report


async def _status(member: Member) -> dict[str, Any] | None:
    text = await member.ask("/webrtc/status", member.http)
    return None if text is None else json.loads(text)
