"""Camera to canvas through headless Chromium: the mediapod against stock aiortc, in one run.

    python bench/glass_to_glass.py [--seconds 8] [--repeats 3]

A page draws numbered pictures, sends them through the service and reads the numbers of what comes back
(devcluster/load/page). The time from drawing to seeing has these parts: the service (ours: the age of its frames, from
their first packet to their last one sent; stock aiortc does not say), and the browser with the network (encoder, jitter
buffer, decoder, drawing), which is the rest. Written to build/bench/glass.json.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

import httpx
from media_report import row, show, write
from media_servers import OURS, STOCK, UNCHANGED, Server, serving

from devcluster.load.chromium import ChromiumError, ChromiumReport, ChromiumSettings, check_chromium, find_chromium
from devcluster.load.clips import CODECS, Codec

FORWARDING = {**UNCHANGED, "MEDIAPOD_FORWARD_UNCHANGED": "true"}
FORWARDED = "mediapod, pictures forwarded unchanged"
SYSTEMS = {OURS: (OURS, UNCHANGED), FORWARDED: (OURS, FORWARDING), STOCK: (STOCK, UNCHANGED)}
TARGET_MILLISECONDS = 50.0  # the reference documents: end to end below 50 ms
SIZE, FRAMES_PER_SECOND = (640, 360), 30


async def look(system: str, codec: Codec, seconds: float) -> tuple[ChromiumReport, float | None]:
    """One browser through one service; also the service's own share in milliseconds (p50), where it tells."""
    name, environment = SYSTEMS[system]
    async with serving(name, environment, core=None) as server:
        settings = ChromiumSettings(server.url, (), codec, seconds, *SIZE, FRAMES_PER_SECOND)
        watching = asyncio.create_task(_frame_age(server))
        try:
            report = await check_chromium(settings)
        finally:
            watching.cancel()
            ages = await asyncio.gather(watching, return_exceptions=True)
    share = ages[0] if isinstance(ages[0], float) else None
    return report, share


async def _frame_age(server: Server) -> float | None:
    """The last p50 of the frame age that /sessions showed, in milliseconds."""
    age: float | None = None
    try:
        async with httpx.AsyncClient() as http:
            while server.admin_url:
                listing = (await http.get(f"{server.admin_url}/sessions", timeout=5)).json()["sessions"]
                found = [one["frameAgeP50Seconds"] for one in listing if one["frameAgeP50Seconds"]]
                age = found[0] * 1000 if found else age
                await asyncio.sleep(0.5)
    except (asyncio.CancelledError, httpx.HTTPError):
        return age
    return age


async def measure(seconds: float, repeats: int) -> list[dict[str, Any]]:
    """All systems and codecs, in turn."""
    rows: list[dict[str, Any]] = []
    for codec in CODECS:
        found: dict[str, list[ChromiumReport]] = {name: [] for name in SYSTEMS}
        shares: list[float] = []
        for _ in range(repeats):
            for name in SYSTEMS:
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} {codec} {name}\n")
                report, share = await look(name, codec, seconds)
                found[name].append(report)
                shares += [share] if name == OURS and share is not None else []
        rows += _rows(codec, found, shares)
    return rows


def _rows(codec: Codec, found: dict[str, list[ChromiumReport]], shares: list[float]) -> list[dict[str, Any]]:
    rows = []
    for percent, target in (("p50", TARGET_MILLISECONDS), ("p95", None)):
        values = {
            name: [delay for one in reports if (delay := one.glass_to_glass_milliseconds[percent]) is not None]
            for name, reports in found.items()
        }
        ours = values.pop(OURS)
        measure = f"glass to glass {percent}, {SIZE[0]}x{SIZE[1]} {FRAMES_PER_SECOND} fps {codec}"
        rows.append(row(measure, "ms", ours, values, target=target))
        if percent == "p50" and shares and ours:
            rest = [max(0.0, whole - share) for whole, share in zip(ours, shares, strict=False)]
            rows.append(row(f"of it the service (frame age), {codec}", "ms", shares, {}))
            rows.append(row(f"of it the browser and the network, {codec}", "ms", rest, {}))
    return rows


def main() -> int:
    """Measure, print, write. Without a browser it says so and writes rows without numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    try:
        find_chromium()
        rows = asyncio.run(measure(arguments.seconds, arguments.repeats))
    except ChromiumError as error:
        rows = [row("glass to glass", "ms", [], {}, note=str(error))]
    show(rows, "glass to glass, headless Chromium; red: a peer or the target is better")
    sys.stdout.write(f"written to {write('glass', rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
