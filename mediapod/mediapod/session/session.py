"""One session: its state machine joined to a peer and to the clock."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from mediapod.frames.ledger import FrameLedger
from mediapod.rtc.connection import PeerReport
from mediapod.rtc.errors import MediaUnavailable
from mediapod.rtc.offer import InvalidOffer, Offer
from mediapod.rtc.trickle import Fragment
from mediapod.rtc.viewer import PUBLISHER_GONE
from mediapod.session.state import EndReason, Limits, SessionState, State

log = structlog.get_logger(__name__)


class PeerConnection(Protocol):
    """What a session needs of a peer."""

    @property
    def last_packet(self) -> float:
        """When the last media packet arrived, time.monotonic() seconds."""

    @property
    def is_lost(self) -> bool:
        """Whether the peer has gone without a word."""

    def report(self) -> PeerReport:
        """What can be told of its media."""

    async def answer(self, offer: Offer) -> str:
        """Answer the offer; returns SDP."""

    async def add_candidates(self, fragment: Fragment) -> None:
        """Take trickled candidates. Raises OtherIceCredentials."""

    async def close(self) -> None:
        """Close; never raises."""


PeerFactory = Callable[[FrameLedger, Callable[[str], None]], PeerConnection]
OnEnd = Callable[["Session", EndReason], None]


@dataclass(frozen=True, slots=True)
class SessionReport:
    """What /sessions says about one session. Rates, ages and missedShare are those of the last five seconds; null: not
    known. forwarded: pictures go back without being decoded, so their size is not known.
    """

    id: str
    state: str
    startedTime: str  # noqa: N815  names of the admin interface
    videoCodec: str  # noqa: N815
    framesReceived: int  # noqa: N815
    framesSent: int  # noqa: N815
    results: dict[str, int]
    width: int | None
    height: int | None
    forwarded: bool
    receivedFramesPerSecond: float  # noqa: N815
    sentFramesPerSecond: float  # noqa: N815
    frameRateCap: float | None  # noqa: N815
    frameAgeP50Seconds: float | None  # noqa: N815
    frameAgeP95Seconds: float | None  # noqa: N815
    missedShare: float  # noqa: N815
    bitsPerSecondLimit: int | None  # noqa: N815
    roundTripSeconds: float | None  # noqa: N815
    audioPacketsLost: int  # noqa: N815
    silentSeconds: float  # noqa: N815


class Session:
    """Created with a place already taken; `open` answers the offer; ends once, by whatever comes first.

    id: for logs, /sessions and viewers; secret: part of the session URL, known to the session's owner alone;
    ice_tag: entity tag of the ICE session (RFC 9725).
    """

    def __init__(
        self, session_id: str, ledger: FrameLedger, make_peer: PeerFactory, limits: Limits, on_end: OnEnd
    ) -> None:
        self.id = session_id
        self.secret = secrets.token_hex(16)
        self.ice_tag = f'"{secrets.token_hex(8)}"'
        self.ledger = ledger
        self.started_time = datetime.now(UTC)
        self._state = SessionState(limits, time.monotonic())
        self._on_end = on_end
        self.peer = make_peer(ledger, self._connection_changed)
        self._closing: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._state.state

    def is_measured(self, now: float) -> bool:
        """Whether what it costs shows by now in what the pod measures. `now` in time.monotonic() seconds."""
        return self._state.is_measured(now)

    async def open(self, offer: Offer) -> str:
        """Answer the offer; returns SDP. When it raises, the session has ended with a reason."""
        try:
            answer = await self.peer.answer(offer)
        except InvalidOffer:
            self.end(EndReason.OFFER_INVALID)
            raise
        except (MediaUnavailable, asyncio.CancelledError, Exception):
            self.end(EndReason.OFFER_FAILED)
            raise
        self._state.answered()
        return answer

    async def add_candidates(self, fragment: Fragment) -> None:
        """Take trickled candidates. Raises OtherIceCredentials."""
        await self.peer.add_candidates(fragment)

    def check_timers(self, now: float) -> None:
        """End the session if a timer has run out. `now` in time.monotonic() seconds."""
        self._state.packet(self.peer.last_packet)
        self._ended(self._state.due(now))
        if self._state.connected and self.peer.is_lost:
            self.end(EndReason.PEER_LOST)

    def end(self, reason: EndReason) -> None:
        """End the session; closing goes on in the background, `closed` waits for it."""
        self._ended(self._state.end(reason))

    async def closed(self) -> None:
        """Wait until everything that belongs to an ended session is released."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    def report(self) -> SessionReport:
        """The session as /sessions shows it."""
        peer, recent = self.peer.report(), self.ledger.summary()
        return SessionReport(
            id=self.id,
            state=self.state.value,
            startedTime=self.started_time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            videoCodec=peer.video_codec,
            framesReceived=self.ledger.received,
            framesSent=peer.frames_sent,
            results={result.value: count for result, count in sorted(self.ledger.results.items())},
            width=peer.width,
            height=peer.height,
            forwarded=peer.forwarded,
            receivedFramesPerSecond=recent.received_per_second,
            sentFramesPerSecond=recent.sent_per_second,
            frameRateCap=_rounded(peer.frame_rate_cap),
            frameAgeP50Seconds=recent.age_p50_seconds,
            frameAgeP95Seconds=recent.age_p95_seconds,
            missedShare=recent.missed_share,
            bitsPerSecondLimit=peer.bits_per_second_limit,
            roundTripSeconds=_rounded(peer.round_trip_seconds),
            audioPacketsLost=peer.audio_packets_lost,
            silentSeconds=round(peer.silent_seconds, 3),
        )

    def _connection_changed(self, connection_state: str) -> None:
        if connection_state == PUBLISHER_GONE:
            self.end(EndReason.PUBLISHER_ENDED)
            return
        self._ended(self._state.connection_changed(connection_state, time.monotonic()))

    def _ended(self, reason: EndReason | None) -> None:
        if reason is not None:
            self._closing = asyncio.get_running_loop().create_task(self._close(reason), name="mediapod-close")

    async def _close(self, reason: EndReason) -> None:
        await self.peer.close()
        self.ledger.close()
        log.info("session ended", session=self.id, reason=reason, frames_received=self.ledger.received)
        self._on_end(self, reason)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
