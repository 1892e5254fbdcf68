"""Which lost packets to ask for again (RTCP NACK, RFC 4585 section 6.2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

SEQUENCE_MODULUS = 1 << 16
WINDOW_PACKETS = 128  # what a sender keeps for retransmission, at least in aiortc
RESTART_DISTANCE = 3000
REPEAT_SECONDS = 0.03
ATTEMPTS = 4


class Sequenced(Protocol):
    """A packet with its RTP sequence number."""

    sequence_number: int


class Retransmissions:
    """Notes gaps in the sequence numbers; asks for each missing packet at once and, unlike aiortc's own, a few times
    more.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._newest: int | None = None
        self._attempts: dict[int, int] = {}
        self._last_request = float("-inf")

    @property
    def missing(self) -> set[int]:
        """Sequence numbers to ask for."""
        return set(self._attempts)

    def add(self, packet: Sequenced) -> bool:
        """Note a packet; returns whether to ask for `missing` now."""
        sequence = packet.sequence_number
        new_gap = self._note(sequence)
        self._forget_old()
        now = self._clock()
        if not self._attempts or (not new_gap and now - self._last_request < REPEAT_SECONDS):
            return False
        self._last_request = now
        self._count_attempt()
        return bool(self._attempts)

    def _note(self, sequence: int) -> bool:
        if self._newest is None:
            self._newest = sequence
            return False
        ahead = (sequence - self._newest) % SEQUENCE_MODULUS
        if ahead == 0 or ahead >= SEQUENCE_MODULUS // 2:
            self._attempts.pop(sequence, None)
            return False
        gap = [] if ahead > RESTART_DISTANCE else range(max(1, ahead - WINDOW_PACKETS), ahead)
        self._attempts.update({(self._newest + step) % SEQUENCE_MODULUS: 0 for step in gap})
        self._newest = sequence
        return bool(gap)

    def _forget_old(self) -> None:
        newest = self._newest or 0
        for sequence in [s for s in self._attempts if (newest - s) % SEQUENCE_MODULUS > WINDOW_PACKETS]:
            del self._attempts[sequence]

    def _count_attempt(self) -> None:
        for sequence in list(self._attempts):
            self._attempts[sequence] += 1
            if self._attempts[sequence] > ATTEMPTS:
                del self._attempts[sequence]
