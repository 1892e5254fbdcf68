"""An adaptive jitter buffer for audio packets: it waits for a missing packet as long as packets are usually late, never
longer than 60 ms, and not at all while nothing is missing.

aiortc's own holds four packets (80 ms) always and, after one lost packet, up to sixteen (320 ms) for ever.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

SEQUENCE_MODULUS = 1 << 16
RESTART_DISTANCE = 3000  # RFC 3550 appendix A.1: beyond it the sender has started again
CAPACITY_PACKETS = 16
LONGEST_WAIT_SECONDS = 0.06
JITTER_PACKETS = 150  # three seconds of 20 ms packets
JITTER_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One packet. timestamp: 32 bit RTP; arrived: time.monotonic() seconds."""

    sequence: int
    timestamp: int
    payload_type: int
    data: bytes
    arrived: float


class AdaptiveJitterBuffer:
    """Puts packets in order. Pure: the clock is an argument. Bounded by packets and by time."""

    def __init__(self, clock_hertz: int) -> None:
        self._clock_hertz = clock_hertz
        self._next: int | None = None
        self._held: dict[int, AudioPacket] = {}
        self._newest: AudioPacket | None = None
        self._deviations: deque[float] = deque(maxlen=JITTER_PACKETS)
        self.lost = 0
        self.late = 0  # came after it had been given up, or twice

    def __len__(self) -> int:
        return len(self._held)

    @property
    def target_seconds(self) -> float:
        """How long a missing packet is waited for: p95 of how far packets came from when they were due."""
        if not self._deviations:
            return 0.0
        ordered = sorted(self._deviations)
        usual = ordered[max(0, math.ceil(JITTER_SHARE * len(ordered)) - 1)]
        return min(LONGEST_WAIT_SECONDS, usual)

    def add(self, packet: AudioPacket) -> None:
        """Take a packet."""
        self._note_jitter(packet)
        if self._next is None:
            self._next = packet.sequence
        ahead = (packet.sequence - self._next) % SEQUENCE_MODULUS
        if RESTART_DISTANCE <= ahead < SEQUENCE_MODULUS - RESTART_DISTANCE:
            self._held.clear()
            self._next, ahead = packet.sequence, 0
        if ahead >= SEQUENCE_MODULUS // 2 or packet.sequence in self._held:
            self.late += 1
            return
        self._held[packet.sequence] = packet

    def pop(self, now: float) -> AudioPacket | None:
        """The packet that is next, None while it is being waited for."""
        if self._next is None or not self._held:
            return None
        if self._next not in self._held:
            first = self._first()
            if now < first.arrived + self.target_seconds and len(self._held) < CAPACITY_PACKETS:
                return None
            self.lost += (first.sequence - self._next) % SEQUENCE_MODULUS
            self._next = first.sequence
        packet = self._held.pop(self._next)
        self._next = (self._next + 1) % SEQUENCE_MODULUS
        return packet

    def wait_seconds(self, now: float) -> float | None:
        """How long until `pop` will give up what it waits for; None: nothing is held."""
        return max(0.0, self._first().arrived + self.target_seconds - now) if self._held else None

    def _first(self) -> AudioPacket:
        start = self._next or 0
        return self._held[min(self._held, key=lambda sequence: (sequence - start) % SEQUENCE_MODULUS)]

    def _note_jitter(self, packet: AudioPacket) -> None:
        """RFC 3550 section 6.4.1's D of consecutive packets; a gap in the stream (silence) is no jitter."""
        before, self._newest = self._newest, packet
        if before is None or packet.sequence != (before.sequence + 1) % SEQUENCE_MODULUS:
            return
        due = ((packet.timestamp - before.timestamp) % (1 << 32)) / self._clock_hertz
        self._deviations.append(abs(packet.arrived - before.arrived - due))
