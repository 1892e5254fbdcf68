"""Where an offer goes. Pure: loads and randomness are arguments.

Packed while there is room, spread where there is none. Sessions stay where they land, so replicas that are not needed
empty themselves only if new sessions go to the others: the fullest that still have room. Without room anywhere the
emptier ones take them, so that none is full while another is not.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

CLEARLY_SESSIONS = 1  # less than one session's worth would send offers to and fro for nothing
FLOAT_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Load:
    """How full one pod is. address: "host:port" of its admin port; taken: sessions, pending ones counted; room: the pod
    says so of itself (mediapod.session.room), a pod that says nothing has none; busy: the busy share of its device.
    """

    address: str
    taken: int
    capacity: int
    draining: bool = False
    room: bool = False
    busy: float = 0.0

    @property
    def open(self) -> bool:
        """Whether it takes one more session."""
        return not self.draining and self.taken < self.capacity

    @property
    def packs(self) -> bool:
        """Whether it should have the next session although others are emptier."""
        return self.open and self.room

    @property
    def share(self) -> float:
        """Of its places."""
        return self.taken / self.capacity

    @property
    def use(self) -> float:
        """Of its places or its device, whichever is scarcer: sessions are not alike."""
        return max(self.share, self.busy)


def choose_peer(own: Load, peers: Sequence[Load], randomness: random.Random) -> Load | None:
    """Return the peer that should serve the next session, None: this pod should (or nobody can).

    Among those with room the fullest, by address among equals, so that all pods choose the same one.
    """
    roomy = [load for load in (own, *peers) if load.packs]
    if not roomy:
        return _spread(own, peers, randomness)
    fullest = max(roomy, key=lambda load: (load.share, load.address))
    return None if fullest is own else fullest


def _spread(own: Load, peers: Sequence[Load], randomness: random.Random) -> Load | None:
    """Power of two choices: the less used of two random peers, which spreads nearly as well as the least used of all
    and does not make every pod choose the same one at the same time (Mitzenmacher 2001). It must be clearly less used
    than this pod, unless this pod takes no session.
    """
    usable = [peer for peer in peers if peer.open]
    if not usable:
        return None
    best = min(randomness.sample(usable, min(2, len(usable))), key=lambda peer: peer.use)
    if not own.open:
        return best
    return best if (own.use - best.use) * own.capacity >= CLEARLY_SESSIONS - FLOAT_SLACK else None
