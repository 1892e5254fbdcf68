"""Load for bench/media.py: sessions that play a pre-encoded clip, and what a user would see of them in a window."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from media_servers import Server

from devcluster.load import compat
from devcluster.load.client import ClientSettings, LoadClient
from devcluster.load.clips import Clip, ClipSpec, Codec, load_clip
from devcluster.load.statistics import SessionStatistics, percentile

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
BITS_PER_SECOND = {"360p": 600_000, "720p": 1_500_000, "1080p": 3_000_000}
FRAMES_PER_SECOND = 30
CLIP_SECONDS = 6
CONNECT_SECONDS = 20.0
MOST_SESSIONS = 40


def clip_of(size: str, codec: Codec) -> Clip:
    """The clip of a size and codec; made once, then from the cache folder."""
    width, height = SIZES[size]
    spec = ClipSpec(codec, width, height, FRAMES_PER_SECOND, BITS_PER_SECOND[size], CLIP_SECONDS)
    return load_clip(spec)


@dataclass(frozen=True)
class Window:
    """What came back in a window. Times in milliseconds; frames_per_second: of the slowest session."""

    sessions: int
    frames_per_second: float
    p50: float
    p95: float
    p99: float
    missed_share: float
    frames: int

    @property
    def passes(self) -> bool:
        """Whether every session had its frames, in time (research: 29.5 fps and p95 of 50 ms)."""
        return self.frames_per_second >= 29.5 and self.p95 <= 50

    @property
    def fails_by_far(self) -> bool:
        """Whether looking again would not change it."""
        return self.frames_per_second < 24 or self.p95 > 100


class Sessions:
    """A group of clients of one server. `async with` closes them."""

    def __init__(self, server: Server, clip: Clip, lose_every: int = 0) -> None:
        self._clip = clip
        self._settings = ClientSettings(server.url, lose_every=lose_every, retry_seconds=5)
        self._running: list[tuple[LoadClient, asyncio.Task[SessionStatistics]]] = []

    async def resize(self, count: int) -> None:
        """Have `count` connected sessions. Raises RuntimeError when one does not connect."""
        await self._close(self._running[count:])
        del self._running[count:]
        while len(self._running) < count:
            client = LoadClient(f"session-{len(self._running)}", self._clip, self._settings)
            self._running.append((client, asyncio.create_task(client.run())))
            await self._connected(client)
            await asyncio.sleep(0.11)  # frames of different sessions are not in step

    async def _connected(self, client: LoadClient) -> None:
        deadline = time.monotonic() + CONNECT_SECONDS
        while not client.connected:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{client.statistics.name} does not connect: {client.statistics.end_detail}")
            await asyncio.sleep(0.02)

    async def measure(self, warm_up_seconds: float, seconds: int, tail_seconds: float = 0.4) -> Window:
        """Wait, then look at the frames sent within `seconds` whole seconds. What was sent last may be under way for
        `tail_seconds`.
        """
        await asyncio.sleep(warm_up_seconds)
        first = int(time.time()) + 1
        await asyncio.sleep(first - time.time() + seconds + tail_seconds)
        return self.window(first, first + seconds)

    def window(self, first: int, end: int) -> Window:
        """What became of the frames sent in the seconds first..end of the Unix epoch."""
        rates, trips, sent = [], [], 0
        for client, _ in self._running:
            seconds = [s for at, s in client.statistics.seconds.items() if first <= at < end]
            rates.append(sum(s.returned for s in seconds) / (end - first))
            sent += sum(s.sent for s in seconds)
            trips += [trip for s in seconds for trip in s.round_trips_milliseconds]
        p50, p95, p99 = (percentile(trips, share) or float("inf") for share in (0.5, 0.95, 0.99))
        missed = 1 - len(trips) / sent if sent else 1.0
        return Window(len(rates), min(rates, default=0.0), p50, p95, p99, max(0.0, missed), len(trips))

    async def close(self) -> None:
        """Close all sessions, most at once."""
        await self.resize(0)

    async def _close(self, running: list[tuple[LoadClient, asyncio.Task[SessionStatistics]]]) -> None:
        await asyncio.gather(*(client.close() for client, _ in running))
        await asyncio.gather(*(task for _, task in running))


@asynccontextmanager
async def sessions(server: Server, clip: Clip, count: int, lose_every: int = 0) -> AsyncIterator[Sessions]:
    """`count` connected sessions, closed with the block."""
    compat.notice_loss_sooner()
    group = Sessions(server, clip, lose_every)
    try:
        await group.resize(count)
        yield group
    finally:
        await group.close()


async def most_sessions(group: Sessions, measure: Callable[[Sessions], Awaitable[Window]], guess: int) -> Window:
    """The window with the most sessions that passes, `worst()` where none does. Up or down from `guess` by one, one,
    one, two, four and so on; what is left between one that passes and one that fails is halved.
    """
    best, fails, count = worst(), MOST_SESSIONS + 1, guess
    for step in (1, 1, 1, 2, 4, *[8] * MOST_SESSIONS):
        await group.resize(count)
        window = await measure(group)
        best, fails = (window, fails) if window.passes else (best, count)
        if best.sessions + 1 >= fails:
            break
        if fails > MOST_SESSIONS:
            count = min(count + step, MOST_SESSIONS)
            continue
        count = (best.sessions + fails) // 2 if best.sessions else max(count - step, 1)
        if not window.passes:
            await group.resize(0)  # sessions that were too many have lowered their frame rates
    return best


def as_row_note(window: Window) -> str:
    """A window in words, for the note of a row."""
    return f"{window.frames_per_second:.1f} fps, p95 {window.p95:.1f} ms, {window.missed_share:.1%} missed"


def worst() -> Window:
    """The window of a run that could not be made."""
    infinite = float("inf")
    return replace(Window(0, 0, 0, 0, 0, 1, 0), p50=infinite, p95=infinite, p99=infinite)
