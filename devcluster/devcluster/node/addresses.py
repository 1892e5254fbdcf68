"""Addresses of pods, from 127.64.0.0/16: all of 127/8 is local on Linux, so every pod has one of its own."""

import ipaddress
import json
import random
import socket
from pathlib import Path

POD_NETWORK = ipaddress.ip_network("127.64.0.0/16")


class AddressesExhaustedError(RuntimeError):
    """No free address was found in the pod network."""


class PodAddresses:
    """Gives each pod (by uid) an address that no other pod of this machine has, and remembers it in ``file``.

    An abstract Unix socket named after the address marks it as taken, also for other clusters on this machine; the
    kernel drops the mark when this process ends, however it ends.
    """

    def __init__(self, file: Path, *, seed: int | None = None) -> None:
        self._file = file
        self._random = random.Random(seed)  # noqa: S311  spreads clusters over the network, no secret
        self._remembered: dict[str, str] = _read(file)
        self._held: dict[str, socket.socket] = {}

    def claim(self, uid: str) -> str:
        """The pod's address: the remembered one if it is free, else a new one. Raises AddressesExhaustedError."""
        if uid in self._held:
            return self._remembered[uid]
        for address in self._candidates(uid):
            if mark := _mark(address):
                self._held[uid], self._remembered[uid] = mark, address
                self._write()
                return address
        raise AddressesExhaustedError(f"no free address for a pod in {POD_NETWORK}")

    def _candidates(self, uid: str) -> list[str]:
        taken = set(self._remembered.values())
        drawn = (str(POD_NETWORK[self._random.randrange(2, POD_NETWORK.num_addresses - 1)]) for _ in range(1000))
        remembered = [self._remembered[uid]] if uid in self._remembered else []
        return remembered + [address for address in drawn if address not in taken]

    def release(self, uid: str) -> None:
        """Gives the address back; to be called after the pod's last process has ended."""
        if mark := self._held.pop(uid, None):
            mark.close()
        if self._remembered.pop(uid, None):
            self._write()

    def forget_except(self, uids: set[str]) -> None:
        """Drops remembered addresses of pods that are gone."""
        for uid in set(self._remembered) - uids:
            self.release(uid)

    def close(self) -> None:
        """Takes all marks away and keeps what is remembered."""
        for mark in self._held.values():
            mark.close()
        self._held.clear()

    def _write(self) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self._remembered, indent=1))
        temporary.replace(self._file)


def _read(file: Path) -> dict[str, str]:
    try:
        return {str(uid): str(address) for uid, address in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _mark(address: str) -> socket.socket | None:
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0rtcscale-devcluster-pod-{address}")
    except OSError:
        mark.close()
        return None
    return mark
