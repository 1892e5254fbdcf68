"""The life of a session as a pure state machine: events and the clock go in, the reason of its end comes out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a session stands. Pending and Connecting hold a place in admission as Active does."""

    PENDING = "Pending"  # the offer is being answered
    CONNECTING = "Connecting"  # the answer is out; ICE and DTLS are under way
    ACTIVE = "Active"
    ENDED = "Ended"


class EndReason(StrEnum):
    """Why a session ended."""

    PEER_CLOSED = "PeerClosed"  # the peer said good-bye
    PEER_LOST = "PeerLost"  # the peer is gone without a word: ICE consent expired, or nothing at all was heard
    CONNECT_FAILED = "ConnectFailed"  # ICE or DTLS failed
    CONNECT_TIMEOUT = "ConnectTimeout"
    IDLE_TIMEOUT = "IdleTimeout"  # connected, but no packet for too long
    MAXIMUM_DURATION = "MaximumDuration"
    OFFER_INVALID = "OfferInvalid"
    OFFER_FAILED = "OfferFailed"  # the answer could not be made
    CLIENT_ENDED = "ClientEnded"  # DELETE on the session URL
    PUBLISHER_ENDED = "PublisherEnded"  # a viewer's publisher is gone
    SHUTDOWN = "Shutdown"  # the grace period of the pod is over
    WORKER_LOST = "WorkerLost"  # the media worker that had it crashed or hung


MEASURED_SECONDS = 2.0  # after media began to flow
PATIENCE_SECONDS = 10.0  # a peer that has not connected by then hardly will, and has cost nothing


@dataclass(frozen=True, slots=True)
class Limits:
    """Timers in seconds; maximum_seconds None: unlimited."""

    connect_seconds: float
    idle_seconds: float
    maximum_seconds: float | None = None


class SessionState:
    """State of one session. All times are seconds of one monotonic clock, given by the caller."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._started = now
        self._last_packet = now
        self._connected_since: float | None = None
        self.state = State.PENDING
        self.reason: EndReason | None = None

    @property
    def connected(self) -> bool:
        """Whether media can flow."""
        return self.state is State.ACTIVE

    def is_measured(self, now: float) -> bool:
        """Whether its load shows in what is measured of the last seconds; of an ended session there is none to come."""
        if self.state is State.ENDED:
            return True
        if self._connected_since is None:
            return now - self._started >= PATIENCE_SECONDS
        return now - self._connected_since >= MEASURED_SECONDS

    def answered(self) -> None:
        """The answer is on its way to the peer."""
        if self.state is State.PENDING:
            self.state = State.CONNECTING

    def connection_changed(self, connection_state: str, now: float) -> EndReason | None:
        """Take a connectionState of WebRTC; returns the reason if the session is over."""
        if self.state is State.ENDED:
            return None
        if connection_state == "connected":
            self.state, self._last_packet = State.ACTIVE, now
            self._connected_since = self._connected_since or now
        elif connection_state == "failed":
            return self.end(EndReason.PEER_LOST if self.connected else EndReason.CONNECT_FAILED)
        elif connection_state == "closed":
            return self.end(EndReason.PEER_CLOSED)
        return None

    def packet(self, arrived: float) -> None:
        """A media packet arrived."""
        self._last_packet = max(self._last_packet, arrived)

    def due(self, now: float) -> EndReason | None:
        """The reason if a timer has run out by `now`."""
        if self.state is State.ENDED:
            return None
        if self._limits.maximum_seconds is not None and now - self._started >= self._limits.maximum_seconds:
            return self.end(EndReason.MAXIMUM_DURATION)
        if not self.connected and now - self._started >= self._limits.connect_seconds:
            return self.end(EndReason.CONNECT_TIMEOUT)
        if self.connected and now - self._last_packet >= self._limits.idle_seconds:
            return self.end(EndReason.IDLE_TIMEOUT)
        return None

    def end(self, reason: EndReason) -> EndReason | None:
        """End the session for `reason`; None if it had ended before."""
        if self.state is State.ENDED:
            return None
        self.state, self.reason = State.ENDED, reason
        return reason
