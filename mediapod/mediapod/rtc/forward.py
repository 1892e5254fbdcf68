"""Frames that go back as they came, still encoded: for pipelines that change nothing.

No decoding, no encoding, no delay but the packets'. It ends for good, and decoding begins, when the peer sends another
codec than it wants to get, or can take less than it sends: only an encoder of our own can change either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from mediapod.frames.ledger import Result
from mediapod.rtc.bitstream import Codec
from mediapod.rtc.chain import FrameChain
from mediapod.rtc.decoder import EncodedPicture

log = structlog.get_logger(__name__)

QUEUE_FRAMES = 24
RATE_SECONDS = 2.0
RATE_TOLERANCE = 1.25  # the announced limit wavers around what is sent


class Forwarder:
    """A bounded queue of encoded frames between the receiver and the sender, both on the event loop.

    on_trouble: frames were dropped or the short cut ended; a keyframe is needed.
    """

    def __init__(self, active: bool, on_trouble: Callable[[], None]) -> None:
        self.active = active
        self._on_trouble = on_trouble
        self._chain: FrameChain[EncodedPicture] = FrameChain(QUEUE_FRAMES)
        self._changed = asyncio.Event()
        self._sent_as: Codec | None = None
        self._limit: int | None = None
        self._rate = _BitRate()

    def limit(self, bits_per_second: int) -> None:
        """What the receiver says it can take."""
        self._limit = bits_per_second

    def put(self, picture: EncodedPicture, now: float) -> bool:
        """Take a frame; False: it is to be decoded, and so is everything after it."""
        if not self.active:
            return False
        rate = self._rate.add(now, 8 * len(picture.data))
        if self._sent_as not in (None, picture.codec):
            self._end(f"the peer sends {picture.codec} and gets {self._sent_as}")
            return False
        if self._limit is not None and rate > RATE_TOLERANCE * self._limit:
            self._end(f"the peer sends {rate / 1e6:.2f} Mb/s and can take {self._limit / 1e6:.2f}")
            return False
        self._supersede(self._chain.push(picture))
        self._changed.set()
        return True

    async def get(self, codec: Codec) -> EncodedPicture | None:
        """The next frame, to be sent as `codec`; None: there will be none any more."""
        self._sent_as = codec
        while self.active:
            if self._chain:
                return self._chain.pop()
            self._changed.clear()
            await self._changed.wait()
        return None

    def close(self) -> None:
        """End the short cut; frames in it count as superseded."""
        self.active = False
        for picture in self._chain.clear():
            picture.ticket.settle(Result.SUPERSEDED)
        self._changed.set()

    def _end(self, reason: str) -> None:
        log.info("unchanged pictures are no longer forwarded but encoded", reason=reason)
        self.close()
        self._on_trouble()

    def _supersede(self, dropped: list[EncodedPicture]) -> None:
        for picture in dropped:
            picture.ticket.settle(Result.SUPERSEDED)
        if dropped:
            self._on_trouble()


class _BitRate:
    """Bits a second over the last two seconds; 0 until they are over, so that a first keyframe does not count."""

    def __init__(self) -> None:
        self._sizes: deque[tuple[float, int]] = deque(maxlen=1024)
        self._bits = 0
        self._since: float | None = None

    def add(self, now: float, bits: int) -> float:
        """Note a frame; returns the rate."""
        self._since = now if self._since is None else self._since
        if len(self._sizes) == self._sizes.maxlen:
            self._bits -= self._sizes.popleft()[1]
        self._sizes.append((now, bits))
        self._bits += bits
        while self._sizes[0][0] < now - RATE_SECONDS:
            self._bits -= self._sizes.popleft()[1]
        return self._bits / RATE_SECONDS if now - self._since >= RATE_SECONDS else 0.0
