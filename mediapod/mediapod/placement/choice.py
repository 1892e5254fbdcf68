"""Where an offer goes. Pure: loads and randomness are arguments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

CLEARLY_SESSIONS = 2  # a difference of one would send offers to and fro for nothing


@dataclass(frozen=True, slots=True)
class Load:
    """How full one pod is. address: "host:port" of its admin port; taken: sessions, pending ones counted."""

    address: str
    taken: int
    capacity: int
    draining: bool = False

    @property
    def open(self) -> bool:
        """Whether it takes one more session."""
        return not self.draining and self.taken < self.capacity


def choose_peer(own: Load, peers: Sequence[Load], randomness: random.Random) -> Load | None:
    """Return the peer that should serve the next session, None: this pod should (or nobody can).

    Power of two choices: the emptier of two random peers, which spreads nearly as well as the emptiest of all and does
    not make every pod choose the same one at the same time (Mitzenmacher 2001). It must be clearly emptier than this
    pod, unless this pod takes no session.
    """
    usable = [peer for peer in peers if peer.open]
    if not usable:
        return None
    best = min(randomness.sample(usable, min(2, len(usable))), key=lambda peer: peer.taken / peer.capacity)
    if not own.open:
        return best
    as_full_as_best = best.taken / best.capacity * own.capacity
    return best if own.taken - as_full_as_best >= CLEARLY_SESSIONS else None
