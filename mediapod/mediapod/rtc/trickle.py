"""Trickle ICE fragments (RFC 8840): candidates that arrive after the offer."""

from __future__ import annotations

from dataclasses import dataclass

from mediapod.rtc.offer import CANDIDATE, MAXIMUM_CANDIDATES, InvalidOffer, may_contact

MAXIMUM_FRAGMENT_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Fragment:
    """A checked fragment. ice: user name fragment and password that it is for; candidates: the usable ones, as
    `a=candidate:` lines, with the mid under which each came.
    """

    ice: tuple[str, str]
    candidates: tuple[tuple[str, str], ...]


def parse_fragment(text: str) -> Fragment:
    """Parse an application/trickle-ice-sdpfrag body. Candidates that may not be contacted are dropped silently, as RFC
    9725 asks for unknown transports. Raises InvalidOffer.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not all(len(line) > 2 and line[1] == "=" for line in lines):
        raise InvalidOffer("body", "is not an SDP fragment: each line must be a letter, '=' and a value")
    if sum(line.startswith(CANDIDATE) for line in lines) > MAXIMUM_CANDIDATES:
        raise InvalidOffer("body", f"has more than {MAXIMUM_CANDIDATES} candidates")
    return Fragment(_credentials(lines), tuple(_candidates(lines)))


def _credentials(lines: list[str]) -> tuple[str, str]:
    values = []
    for name in ("ice-ufrag", "ice-pwd"):
        found = {line.partition(":")[2] for line in lines if line.startswith(f"a={name}:")}
        if len(found) != 1:
            raise InvalidOffer(f"a={name}", f"is there {len(found)} times; one is needed")
        values.append(found.pop())
    return values[0], values[1]


def _candidates(lines: list[str]) -> list[tuple[str, str]]:
    mid, found = "", []
    for line in lines:
        if line.startswith("m="):
            mid = ""
        elif line.startswith("a=mid:"):
            mid = line.removeprefix("a=mid:")
        elif line.startswith(CANDIDATE) and may_contact(line):
            found.append((mid, line))
    return found
