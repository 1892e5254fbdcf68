"""Clients come and go for half an hour, every other group by kill -9: memory, threads and sockets must stay flat.

    python bench/soak_media.py [--minutes 30]

Samples once a round when no session is left. Exit code 1 when something grew: threads or sockets at all, memory by more
than 10 % and 20 MB from the end of the first quarter on (before that pools and caches fill).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time

import uvloop
from media_churn import Footprint, churn, settled
from media_report import row, show, write
from media_servers import CLIENT_CORE, OURS, UNCHANGED, serving

ROUND_SECONDS = 20.0
TRIM_SECONDS = 6.0  # the mediapod gives memory back five seconds after a session has ended
MEMORY_SHARE, MEMORY_MEGABYTES = 0.10, 20.0


async def soak(minutes: float) -> tuple[list[Footprint], int]:
    """Return one footprint a round, and how many clients were killed."""
    samples: list[Footprint] = []
    killed, end = 0, time.monotonic() + minutes * 60
    async with serving(OURS, UNCHANGED) as server:
        while time.monotonic() < end or len(samples) < 4:
            killed += await churn(server, ROUND_SECONDS, seed=len(samples))
            await settled(server)
            await asyncio.sleep(TRIM_SECONDS)
            sample, _ = await settled(server)
            samples.append(sample)
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {sample}\n")
    return samples, killed


def problems(samples: list[Footprint]) -> list[str]:
    """What grew, in words."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter - 1 : 2 * quarter], samples[-quarter:]
    found = []
    for name in ("threads", "sockets", "sessions"):
        before, after = (max(getattr(one, name) for one in part) for part in (early, late))
        if after > before:
            found.append(f"{name} grew from {before} to {after}")
    before, after = (statistics.median(one.memory_megabytes for one in part) for part in (early, late))
    if after - before > max(MEMORY_MEGABYTES, MEMORY_SHARE * before):
        found.append(f"memory grew from {before:.0f} to {after:.0f} MB")
    return found


def main() -> int:
    """Soak, print, write; 1 when something grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    os.sched_setaffinity(0, {CLIENT_CORE if (os.cpu_count() or 1) > 1 else 0})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        samples, killed = runner.run(soak(minutes))
    found = problems(samples)
    first, last = samples[0], samples[-1]
    rows = [
        row(f"{name} at the end", unit, [getattr(last, name)], {}, note=f"{getattr(first, name)} after the first round")
        for name, unit in (("memory_megabytes", "MB"), ("threads", ""), ("sockets", ""), ("sessions", ""))
    ]
    show(rows, f"soak, {minutes:g} minutes, {killed} clients killed: {'; '.join(found) or 'flat'}")
    sys.stdout.write(f"written to {write('soak-media', rows)}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
