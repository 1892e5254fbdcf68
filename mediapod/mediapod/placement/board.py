"""How full the peers are, asked at most once a second and only when an offer comes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from mediapod.placement.choice import Load
from mediapod.placement.peers import Peers, owner_of

FRESH_SECONDS = 1.0
ASK_SECONDS = 0.3
ASKED_PEERS = 8  # two are chosen from; more than a few would only be work that grows with the fleet's square


class LoadBoard:
    """The loads of some peers, as of less than a second ago."""

    def __init__(self, peers: Peers, own_address: str, http: httpx.AsyncClient, randomness: random.Random) -> None:
        self._peers, self._own_address, self._http, self._randomness = peers, own_address, http, randomness
        self._loads: dict[str, Load] = {}
        self._addresses: dict[str, str] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def loads(self, fresh_seconds: float = FRESH_SECONDS) -> list[Load]:
        """The loads known, asked for anew if they are older than that; those who wait for it share one asking."""
        async with self._asking:
            if time.monotonic() - self._asked >= fresh_seconds:
                await self._ask_all()
        return list(self._loads.values())

    async def address_of(self, owner: str) -> str | None:
        """The admin address of the peer that session URLs call `owner`."""
        if owner not in self._addresses:
            await self._find()
        return self._addresses.get(owner)

    def placed(self, address: str) -> None:
        """A session went there: until the next asking, count it, and nobody knows what it costs."""
        if address in self._loads:
            self._loads[address] = replace(self._loads[address], taken=self._loads[address].taken + 1, room=False)

    def without_room(self, address: str) -> None:
        """The peer has no room any more, though it may still take sessions."""
        if address in self._loads:
            self._loads[address] = replace(self._loads[address], room=False)

    def unreachable(self, address: str) -> None:
        """The peer did not answer or refused: until the next asking, leave it alone."""
        self._loads.pop(address, None)

    async def _find(self) -> list[str]:
        found = [address for address in await self._peers.addresses() if address != self._own_address]
        self._addresses = {owner_of(address): address for address in found}
        return found

    async def _ask_all(self) -> None:
        found = await self._find()
        asked = self._randomness.sample(found, min(ASKED_PEERS, len(found)))
        answers = await asyncio.gather(*(self._ask(address) for address in asked))
        self._loads = {load.address: load for load in answers if load is not None}
        self._asked = time.monotonic()

    async def _ask(self, address: str) -> Load | None:
        try:
            answer = await self._http.get(f"http://{address}/slots", timeout=ASK_SECONDS)
            return load_of(address, answer.raise_for_status().json())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError):
            return None


def slots_of(load: Load) -> dict[str, object]:
    """The answer of /slots. busy: 0..1 and above."""
    return {
        "draining": load.draining,
        "taken": load.taken,
        "capacity": load.capacity,
        "room": load.packs,
        "busy": round(load.busy, 3),
    }


def load_of(address: str, slots: Mapping[str, Any]) -> Load:
    """What a peer answered at /slots; an older one says nothing of room. Raises ValueError, KeyError, TypeError."""
    return Load(
        address,
        int(slots["taken"]),
        max(1, int(slots["capacity"])),
        draining=bool(slots["draining"]),
        room=slots.get("room") is True,
        busy=max(0.0, float(slots.get("busy", 0.0))),
    )
