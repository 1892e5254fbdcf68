"""All sessions of the pod: opened after admission, watched by one timer task, gone when closed."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from typing import Protocol

import structlog

from mediapod.frames.ledger import FrameLedger, FrameMeter
from mediapod.rtc.offer import Offer
from mediapod.session.admission import Admission
from mediapod.session.memory import MemoryReturn
from mediapod.session.session import PeerFactory, Session
from mediapod.session.state import EndReason, Limits, State

log = structlog.get_logger(__name__)

TIMER_SECONDS = 0.25
STALLED_SECONDS = 1.0  # a nap that took so long was more than a busy event loop
CLOSE_SECONDS = 10.0
RECOUNT_SECONDS = 0.5


class SessionMeter(FrameMeter, Protocol):
    """Where the registry counts the ends of sessions."""

    def session_ended(self, reason: EndReason) -> None:
        """Count the end of one session."""


class SessionRegistry:
    """The sessions of the pod. A session keeps its place until its sockets and threads are released."""

    def __init__(
        self,
        admission: Admission,
        limits: Limits,
        make_peer: PeerFactory,
        meter: SessionMeter,
        deadline_seconds: float = float("inf"),
    ) -> None:
        self.admission = admission
        self._deadline_seconds = deadline_seconds
        self._limits, self._make_peer, self._meter = limits, make_peer, meter
        self._sessions: dict[str, Session] = {}
        self._memory = MemoryReturn()
        self._missed, self._missed_at = 0.0, float("-inf")
        self._empty = asyncio.Event()
        self._empty.set()
        self._arrival = asyncio.Event()

    @property
    def sessions(self) -> list[Session]:
        """All sessions, oldest first."""
        return list(self._sessions.values())

    @property
    def active(self) -> int:
        """Sessions in which media can flow."""
        return sum(session.state is State.ACTIVE for session in self._sessions.values())

    @property
    def pending(self) -> int:
        """Sessions that hold a place and are not connected: being answered, connecting, or being closed."""
        return len(self._sessions) - self.active

    @property
    def unmeasured(self) -> int:
        """Sessions so new that what the pod measures does not yet tell of them."""
        now = time.monotonic()
        return sum(not session.is_measured(now) for session in self._sessions.values())

    def find(self, session_id: str) -> Session | None:
        """The session with this id."""
        return self._sessions.get(session_id)

    def find_by_secret(self, secret: str) -> Session | None:
        """The session whose URL has this secret, compared in constant time."""
        given = secret.encode()
        return next((s for s in self._sessions.values() if hmac.compare_digest(s.secret.encode(), given)), None)

    def missed_share(self) -> float:
        """The share of the frames of the last seconds that did not come back processed in time, all sessions."""
        recent = [session.ledger.summary() for session in self._sessions.values()]
        received = sum(one.received_per_second for one in recent)
        return sum(one.missed_share * one.received_per_second for one in recent) / received if received else 0.0

    def usual_missed_share(self) -> float:
        """The same, counted anew every half second: for those who ask often."""
        now = time.monotonic()
        if now - self._missed_at >= RECOUNT_SECONDS:
            self._missed, self._missed_at = self.missed_share(), now
        return self._missed

    async def open(self, offer: Offer, make_peer: PeerFactory | None = None) -> tuple[Session, str]:
        """Admit a session and answer its offer; returns it and the SDP. make_peer: another kind of peer than usual.

        Raises Refused, InvalidOffer, MediaUnavailable.
        """
        self.admission.admit(len(self._sessions), self.missed_share)
        session = self._create(make_peer or self._make_peer)
        answer = await session.open(offer)
        log.info("session opened", session=session.id, sessions=len(self._sessions), capacity=self.admission.capacity)
        return session, answer

    def set_draining(self, draining: bool) -> None:
        """Begin or end draining; sessions go on either way."""
        if draining is not self.admission.draining:
            self.admission.draining = draining
            log.info("draining changed", draining=draining, sessions=len(self._sessions))

    async def watch_timers(self) -> None:
        """End sessions whose timers run out, until cancelled; sleeps without waking while there is no session.

        After a time in which this pod itself did not run (a suspended machine, a throttled container) it looks once
        more before it ends any: what peers have sent meanwhile is not read yet.
        """
        excused = False
        while True:
            if not self._sessions:
                await self._wait_for_session()
            before = time.monotonic()
            await asyncio.sleep(TIMER_SECONDS)
            now = time.monotonic()
            if now - before > STALLED_SECONDS and not excused:
                excused = True
                continue
            excused = False
            for session in self.sessions:
                session.check_timers(now)

    async def wait_empty(self, timeout_seconds: float) -> bool:
        """Wait until no session is left; returns whether that came true in time."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End all sessions at once and wait for them, bounded."""
        for session in self.sessions:
            session.end(EndReason.SHUTDOWN)
        await self.wait_empty(CLOSE_SECONDS)
        self._memory.cancel()

    def _create(self, make_peer: PeerFactory) -> Session:
        session_id = secrets.token_hex(16)
        ledger = FrameLedger(self._meter, self._deadline_seconds)
        session = Session(session_id, ledger, make_peer, self._limits, self._ended)
        self._sessions[session_id] = session
        self._empty.clear()
        self._arrival.set()
        return session

    def _ended(self, session: Session, reason: EndReason) -> None:
        self._sessions.pop(session.id, None)
        self._meter.session_ended(reason)
        self._memory.soon()
        if not self._sessions:
            self._empty.set()

    async def _wait_for_session(self) -> None:
        self._arrival.clear()
        await self._arrival.wait()
