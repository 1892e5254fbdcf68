"""Where the pods put an offer: mediapod/placement and its signal of room, modelled with its delays.

An offer reaches a random pod, as a Service sends it. That pod knows itself as it is, and the others as they were up to
a second ago. It packs: the fullest pod that still has room takes the session; when none has room, it spreads: the
less used of two random peers, if it is less used by a session. Before it refuses, it asks anew. All this is the pods'
own, so every autoscaler of a comparison gets the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from mediapipeline_operator.core.simulation.pods import SimPod
from mediapipeline_operator.core.simulation.randomness import Randomness

FRESH_SECONDS = 1.0  # this and the next five: the mediapod's own numbers (a test holds them together)
ASKED_PEERS = 8
CLEARLY_SESSIONS = 1
FILL_SHARE = 0.75
BUSY_LIMIT = 0.8
NEW_SECONDS = 2.0
NEARLY_EMPTY = 2
CONNECT_SECONDS = 1.0  # from the offer until media flow; only then is a session measured
BUSY_SECONDS, MISSED_SECONDS, MISSED_LIMIT = 3, 5, 0.01
SLACK = 1e-9


class Placement(StrEnum):
    """Where an offer goes."""

    PACKED = "Packed"  # to the fullest pod with room, else spread
    SPREAD = "Spread"  # as the pods do with MEDIAPOD_PLACEMENT_FILL_PERCENT=0
    RANDOM = "Random"  # the Service picks; a full replica answers 503


@dataclass(frozen=True, slots=True)
class Seen:
    """A pod as another one knows it."""

    pod: SimPod
    taken: int
    capacity: int
    room: bool
    busy: float

    @property
    def share(self) -> float:
        return self.taken / self.capacity

    @property
    def use(self) -> float:
        return max(self.share, self.busy)

    @property
    def open(self) -> bool:
        return self.taken < self.capacity and self.pod.takes_sessions


@dataclass
class Doors:
    """All pods as doors for offers, each with what it has heard of the others and when."""

    capacity: int
    rng: Randomness
    fill_share: float = FILL_SHARE
    _heard: dict[str, tuple[float, list[Seen]]] = field(default_factory=dict)

    def choose(self, now: float, takers: Sequence[SimPod]) -> SimPod:
        """The pod that an offer ends at; it may be full, then nobody could be found. `takers` is not empty."""
        entry = takers[self.rng.randrange(len(takers))]
        for _ in range(ASKED_PEERS):
            known = self._known(entry, now, takers)
            peer = choose_peer(self.look(entry, now), known, self.rng)
            if peer is None:
                return entry
            if self._accepts(peer, now, packing=peer.room):
                known[known.index(peer)] = replace(peer, taken=peer.taken + 1, room=False)
                return peer.pod
            if peer.room:
                known[known.index(peer)] = self.look(peer.pod, now)
            else:
                known.remove(peer)
        return entry

    def look(self, pod: SimPod, now: float) -> Seen:
        """A pod as it is."""
        room = has_room(pod, now, self.capacity, self.fill_share)
        taken, measured = len(pod.sessions), pod.busy_share(BUSY_SECONDS)
        return Seen(pod, taken, self.capacity, room, measured)

    def _accepts(self, peer: Seen, now: float, *, packing: bool) -> bool:
        """Asked because it had room, it takes a session only if it still has."""
        found = self.look(peer.pod, now)
        return found.room if packing else found.open

    def _known(self, entry: SimPod, now: float, takers: Sequence[SimPod]) -> list[Seen]:
        at, known = self._heard.get(entry.name, (-math.inf, []))
        useless = len(entry.sessions) >= self.capacity and not any(peer.open for peer in known)
        if now - at >= FRESH_SECONDS or useless:  # steps are a second: what is known is of this one, or too old
            asked = self._sample([pod for pod in takers if pod is not entry])
            known = [self.look(pod, now) for pod in asked]
            self._heard[entry.name] = (now, known)
        return known

    def _sample(self, pods: list[SimPod]) -> list[SimPod]:
        while len(pods) > ASKED_PEERS:
            pods.pop(self.rng.randrange(len(pods)))
        return pods


def choose_peer(own: Seen, peers: Sequence[Seen], rng: Randomness) -> Seen | None:
    """As mediapod.placement.choice.choose_peer; None: the own pod serves, or nobody can."""
    roomy = [one for one in (own, *peers) if one.room and one.open]
    if roomy:
        fullest = max(roomy, key=lambda one: (one.share, one.pod.name))
        return None if fullest is own else fullest
    usable = [peer for peer in peers if peer.open]
    if not usable:
        return None
    first = usable.pop(rng.randrange(len(usable)))
    second = usable[rng.randrange(len(usable))] if usable else first
    best = min(first, second, key=lambda peer: peer.use)
    if not own.open:
        return best
    return best if (own.use - best.use) * own.capacity >= CLEARLY_SESSIONS - SLACK else None


def has_room(pod: SimPod, now: float, capacity: int, fill_share: float) -> bool:
    """As mediapod.session.room: filled up to a share only, and by what was measured with all its sessions."""
    taken = len(pod.sessions)
    if not pod.takes_sessions or taken + 1 > fill_share * capacity + SLACK:
        return False
    if taken < NEARLY_EMPTY:
        return True
    if now - pod.newest_session < CONNECT_SECONDS + NEW_SECONDS:
        return False
    return pod.busy_share(BUSY_SECONDS) * (taken + 1) / taken <= BUSY_LIMIT and (
        pod.missed_share(MISSED_SECONDS) <= MISSED_LIMIT
    )
