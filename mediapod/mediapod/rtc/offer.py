"""The check of an SDP offer before anything is allocated for it: sizes, shape, and which candidates may be
contacted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from aiortc.sdp import MediaDescription, SessionDescription

from mediapod.rtc.compat import OWN_EXTENSIONS

MAXIMUM_BYTES = 64 * 1024
MAXIMUM_MEDIA_LINES = 4
MAXIMUM_CANDIDATES = 64
MINIMUM_PORT = 1024  # a browser never has a lower one; a service that must not be probed may
CANDIDATE = "a=candidate:"
END_OF_CANDIDATES = "a=end-of-candidates"
DIRECTIONS = frozenset({"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"})
VIDEO_CODECS = frozenset({"h264", "vp8"})
# Parameters by which an Opus receiver asks for what it likes (RFC 7587 section 6.1).
OPUS = ("minptime", "useinbandfec", "usedtx", "stereo", "cbr", "maxplaybackrate", "maxaveragebitrate")


class Purpose(Enum):
    """What the peer wants: the value is the directions that its video line may have."""

    RETURN = ("sendrecv",)  # send pictures, receive them processed on the same line
    PUBLISH = ("sendonly", "sendrecv")  # WHIP: send pictures
    PLAY = ("recvonly", "sendrecv")  # WHEP: receive somebody else's processed pictures


_WANTED = {
    Purpose.RETURN: "sendrecv, the processed video returns on the same line",
    Purpose.PUBLISH: "sendonly (or sendrecv), a publisher sends",
    Purpose.PLAY: "recvonly, a viewer receives",
}


class InvalidOffer(ValueError):  # noqa: N818  same wording as InvalidStages
    """The offer cannot be answered. `field` names the part of the request, the message what is wrong and what would
    be right. unsupported: it is well-formed, but asks for something that is not offered here.
    """

    def __init__(self, field: str, detail: str, too_large: bool = False, unsupported: bool = False) -> None:
        super().__init__(f"{field}: {detail}")
        self.field, self.detail, self.too_large, self.unsupported = field, detail, too_large, unsupported


@dataclass(frozen=True, slots=True)
class MediaLine:
    """One media line of a checked offer. extensions: URI -> offered id of the header extensions that we have of our
    own. opus: what the peer says of the Opus that it takes.
    """

    mid: str
    kind: str
    direction: str
    extensions: Mapping[str, int] = field(default_factory=dict)
    opus: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offer:
    """A checked offer: `sdp` holds only candidates that may be contacted; `media` is in the order of the bundle.

    ice: the user name fragment and password of the bundle; candidates: how many are in use.
    """

    sdp: str
    media: tuple[MediaLine, ...]
    ice: tuple[str, str]
    candidates: int


def check_offer(text: str, purpose: Purpose = Purpose.RETURN) -> Offer:
    """Check and clean an SDP offer. Raises InvalidOffer."""
    lines = _check_size(text)
    _check_counts(lines)
    candidates = _usable_candidates(lines)
    clean = _with_candidates(_with_directions(lines), candidates)
    description = _parse(clean)
    _check_media(description, purpose)
    media = _in_bundle_order(description)
    return Offer(clean, tuple(_media_line(line) for line in media), _ice(media[0]), len(candidates))


def _ice(media: MediaDescription) -> tuple[str, str]:
    return (str(media.ice.usernameFragment), str(media.ice.password)) if media.ice is not None else ("", "")


def _check_size(text: str) -> list[str]:
    if len(text.encode(errors="replace")) > MAXIMUM_BYTES:
        raise InvalidOffer("sdp", f"is larger than {MAXIMUM_BYTES} bytes", too_large=True)
    lines = text.splitlines()
    if not lines or lines[0].strip() != "v=0":
        raise InvalidOffer("sdp", "is not a session description: it must begin with the line v=0")
    return [line.strip() for line in lines if line.strip()]


def _check_counts(lines: list[str]) -> None:
    media = sum(line.startswith("m=") for line in lines)
    if media > MAXIMUM_MEDIA_LINES:
        raise InvalidOffer("sdp", f"has {media} media lines; at most {MAXIMUM_MEDIA_LINES} are accepted")
    candidates = sum(line.startswith(CANDIDATE) for line in lines)
    if candidates > MAXIMUM_CANDIDATES:
        raise InvalidOffer("sdp", f"has {candidates} candidates; at most {MAXIMUM_CANDIDATES} are accepted")


def _usable_candidates(lines: Iterable[str]) -> list[str]:
    offered = dict.fromkeys(line for line in lines if line.startswith(CANDIDATE))
    return [line for line in offered if may_contact(line)]


def may_contact(candidate: str) -> bool:
    """Whether connectivity checks may be sent to an `a=candidate:` line: UDP, an address and not a name, an ordinary
    port.

    Names (mDNS too) are never resolved; link-local addresses are out because cloud metadata services live there. A peer
    without a usable candidate still connects: its own checks tell where it is.
    """
    parts = candidate.removeprefix(CANDIDATE).split()
    if len(parts) < 8 or parts[1] != "1" or parts[2].lower() != "udp" or not parts[5].isdecimal():
        return False
    try:
        address = ipaddress.ip_address(parts[4])
    except ValueError:
        return False
    special = address.is_unspecified or address.is_multicast or address.is_link_local or address.is_reserved
    return not special and MINIMUM_PORT <= int(parts[5]) < 1 << 16


def _with_directions(lines: Iterable[str]) -> list[str]:
    """A media section without a direction has that of the session, else sendrecv (RFC 8866 section 6.7)."""
    session, *sections = _sections(lines)
    usual = next((line for line in session if line in DIRECTIONS), "a=sendrecv")
    whole = [section if DIRECTIONS & set(section) else [*section, usual] for section in sections]
    return [line for section in (session, *whole) for line in section]


def _sections(lines: Iterable[str]) -> list[list[str]]:
    """The lines of the session, then those of each medium."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _with_candidates(lines: list[str], candidates: list[str]) -> str:
    """The offer with the same candidates in every media section: with bundling, only one section may carry them.

    The end-of-candidates line goes: without a usable candidate it would make ICE give up before the peer's first check.
    """
    result: list[str] = []
    seen_media = False
    for line in lines:
        if line.startswith("m=") and seen_media:
            result.extend(candidates)
        seen_media = seen_media or line.startswith("m=")
        if not line.startswith((CANDIDATE, END_OF_CANDIDATES)):
            result.append(line)
    return "\r\n".join([*result, *candidates]) + "\r\n" if seen_media else "\r\n".join(result) + "\r\n"


def _parse(sdp: str) -> SessionDescription:
    try:
        return SessionDescription.parse(sdp)
    except Exception as error:  # the parser asserts and indexes freely; whatever it raises is the client's mistake
        raise InvalidOffer("sdp", f"cannot be parsed as SDP ({type(error).__name__}: {error})") from error


def _check_media(description: SessionDescription, purpose: Purpose) -> None:
    kinds = [media.kind for media in description.media]
    if not kinds:
        raise InvalidOffer("sdp", "has no media lines; offer video, audio or both")
    if kinds.count("video") > 1:
        raise _unsupported("sdp", f"has {kinds.count('video')} video media lines; at most one is accepted")
    if kinds.count("audio") > 1:
        raise _unsupported("sdp", f"has {kinds.count('audio')} audio media lines; at most one is accepted")
    streams = {media.msid.split()[0] for media in description.media if media.msid}
    if purpose is Purpose.PUBLISH and len(streams) > 1:
        raise _unsupported("sdp", f"has {len(streams)} media streams (a=msid); one session takes one")
    for index, media in enumerate(description.media):
        _check_line(index, media, purpose)


def _unsupported(field: str, detail: str) -> InvalidOffer:
    return InvalidOffer(field, detail, unsupported=True)


def _check_line(index: int, media: MediaDescription, purpose: Purpose) -> None:
    where = f"sdp: media line {index} ({media.kind})"
    if media.kind not in ("audio", "video"):
        raise _unsupported(
            where, "is not accepted; offer one audio or video media line, or one of each, without data channels"
        )
    if not media.rtp.muxId:
        raise InvalidOffer(where, "has no a=mid")
    if media.ice is None or not media.ice.usernameFragment or not media.ice.password:
        raise InvalidOffer(where, "has no ICE credentials (a=ice-ufrag, a=ice-pwd)")
    if media.dtls is None or not media.dtls.fingerprints:
        raise InvalidOffer(where, "has no DTLS fingerprint (a=fingerprint)")
    if not media.rtcp_mux:
        raise InvalidOffer(where, "does not multiplex RTCP (a=rtcp-mux)")
    if media.kind == "video":
        _check_video(where, media, purpose)


def _check_video(where: str, media: MediaDescription, purpose: Purpose) -> None:
    if (media.direction or "sendrecv") not in purpose.value:
        raise _unsupported(where, f"is {media.direction}; it must be {_WANTED[purpose]}")
    offered = {codec.name.lower() for codec in media.rtp.codecs}
    if not offered & VIDEO_CODECS:
        raise _unsupported(where, f"offers {', '.join(sorted(offered)) or 'no codec'}; H264 or VP8 is needed")


def _in_bundle_order(description: SessionDescription) -> list[MediaDescription]:
    bundle = next((list(map(str, group.items)) for group in description.group if group.semantic == "BUNDLE"), [])
    if len(description.media) == 1 and not bundle:
        return description.media
    by_mid = {media.rtp.muxId: media for media in description.media}
    if sorted(bundle) != sorted(by_mid) or len(by_mid) != len(description.media):
        raise InvalidOffer("sdp", "must bundle all its media lines (a=group:BUNDLE with every a=mid, each once)")
    return [by_mid[mid] for mid in bundle]


def _media_line(media: MediaDescription) -> MediaLine:
    offered = {one.uri: one.id for one in media.rtp.headerExtensions if one.uri in OWN_EXTENSIONS and 0 < one.id < 15}
    extensions = offered if media.kind == "video" else {}
    return MediaLine(media.rtp.muxId, media.kind, media.direction or "sendrecv", extensions, _opus(media))


def _opus(media: MediaDescription) -> dict[str, int]:
    offered = next((codec.parameters for codec in media.rtp.codecs if codec.name.lower() == "opus"), {})
    return {name: int(str(offered[name])) for name in OPUS if re.fullmatch(r"\d{1,7}", str(offered.get(name)))}
