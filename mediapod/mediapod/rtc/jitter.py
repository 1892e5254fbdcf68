"""Reassembly of video frames from RTP packets: a frame leaves as soon as its last packet (marker bit) is in.

aiortc's own buffer lets a frame go when a packet of the next one arrives, which costs one frame interval (33 ms at 30
fps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

SEQUENCE_MODULUS = 1 << 16
TIMESTAMP_MODULUS = 1 << 32
CAPACITY_PACKETS = 512
RESTART_DISTANCE = 3000  # RFC 3550 appendix A.1, MAX_DROPOUT: beyond it the sender has started again
WAIT_SECONDS = 0.1  # how long a hole may keep complete later frames waiting for a retransmission


class MediaPacket(Protocol):
    """What the buffer reads of a packet."""

    sequence_number: int
    timestamp: int
    marker: int
    payload_type: int


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A complete encoded picture. first_packet and complete are time.monotonic() seconds;
    timestamp is the raw 32 bit one.
    """

    data: bytes
    timestamp: int
    payload_type: int
    first_packet: float
    complete: float


@dataclass(frozen=True, slots=True)
class _Held:
    packet: MediaPacket
    data: bytes
    arrived: float
    starts_frame: bool


class MarkerJitterBuffer:
    """Puts packets in order and returns complete frames in decoding order.

    Bounded twice: by `capacity` packets and by `wait_seconds` for a hole. Giving up on a hole loses the frames that it
    touches and sets `lost`, so that the caller can ask for a keyframe. Work per packet is constant but for losses.
    """

    def __init__(self, capacity: int = CAPACITY_PACKETS, wait_seconds: float = WAIT_SECONDS) -> None:
        self._capacity = capacity
        self._wait_seconds = wait_seconds
        self._next: int | None = None  # the sequence number that continues `_run`
        self._run: list[_Held] = []  # the packets of the first unfinished frame, without holes
        self._ahead: dict[int, _Held] = {}  # packets behind a hole
        self._mid_frame = False  # what follows belongs to a frame whose start is lost
        self.lost = False

    def __len__(self) -> int:
        return len(self._run) + len(self._ahead)

    def add(
        self, packet: MediaPacket, data: bytes, now: float, starts_frame: Callable[[], bool] = lambda: False
    ) -> list[EncodedFrame]:
        """Take one packet (payload `data` without the RTP payload header) and return the frames that are complete
        now.

        now: the packet's arrival; starts_frame: whether the packet is known to be the first of its frame, asked only
        behind a hole, where it saves a frame that nothing is missing from.
        """
        sequence = packet.sequence_number
        if not self._accept(sequence):
            return []
        self._ahead.setdefault(sequence, _Held(packet, data, now, starts_frame() if sequence != self._next else False))
        frames = list(self._advance(now))
        while self._must_give_up(now):
            self._skip_hole()
            frames.extend(self._advance(now))
        return frames

    def _accept(self, sequence: int) -> bool:
        if self._next is None:
            self._next = sequence
            return True
        ahead = (sequence - self._next) % SEQUENCE_MODULUS
        if ahead < RESTART_DISTANCE:
            return True
        if SEQUENCE_MODULUS - ahead <= RESTART_DISTANCE:
            return False  # a duplicate or too late: its frame has left or was given up
        self._run.clear()
        self._ahead.clear()
        self._next, self._mid_frame, self.lost = sequence, False, True
        return True

    def _advance(self, now: float) -> Iterator[EncodedFrame]:
        """Move packets without a hole before them into the run; a marker or a new timestamp ends a frame."""
        while self._next is not None and (held := self._ahead.pop(self._next, None)) is not None:
            self._next = (self._next + 1) % SEQUENCE_MODULUS
            if self._run and held.packet.timestamp != self._run[0].packet.timestamp:
                yield from self._release(now)  # a sender that sets no marker bit
            self._run.append(held)
            if held.packet.marker:
                yield from self._release(now)

    def _release(self, now: float) -> Iterator[EncodedFrame]:
        run, self._run = self._run, []
        complete, self._mid_frame = not self._mid_frame, False
        if complete:
            yield _join(run, now)

    def _must_give_up(self, now: float) -> bool:
        if len(self) > self._capacity:
            return True
        return bool(self._ahead) and now - min(held.arrived for held in self._ahead.values()) > self._wait_seconds

    def _skip_hole(self) -> None:
        """Give up the frame that reaches into the hole, and the one that reaches out of it if its start is lost."""
        self.lost = True
        self._run = []
        self._mid_frame = True
        if self._ahead and self._next is not None:
            first = self._next
            self._next = min(self._ahead, key=lambda sequence: (sequence - first) % SEQUENCE_MODULUS)
            self._mid_frame = not self._ahead[self._next].starts_frame


def _join(run: list[_Held], now: float) -> EncodedFrame:
    head = run[0].packet
    return EncodedFrame(
        data=b"".join(held.data for held in run),
        timestamp=head.timestamp,
        payload_type=head.payload_type,
        first_packet=min(held.arrived for held in run),
        complete=now,
    )


class TimestampUnwrapper:
    """Turns 32 bit RTP timestamps into numbers that do not wrap, starting at 0; differences are kept exactly."""

    def __init__(self) -> None:
        self._last_raw: int | None = None
        self._value = 0

    def unwrap(self, raw: int) -> int:
        """The unwrapped form of `raw`; a step of less than half the range, forwards or backwards."""
        if self._last_raw is not None:
            step = (raw - self._last_raw) % TIMESTAMP_MODULUS
            self._value += step - TIMESTAMP_MODULUS if step >= TIMESTAMP_MODULUS // 2 else step
        self._last_raw = raw
        return self._value
