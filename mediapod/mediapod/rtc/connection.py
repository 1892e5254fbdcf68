"""What every WebRTC connection of ours does, whichever way its media flow."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import structlog
from aiortc import (
    MediaStreamError,
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.sdp import candidate_from_sdp

from mediapod.rtc import compat
from mediapod.rtc.ice import MediaAddress
from mediapod.rtc.offer import MAXIMUM_CANDIDATES, InvalidOffer, MediaLine, Offer
from mediapod.rtc.trickle import Fragment

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 5.0
SILENT_SECONDS = 8.0  # a living peer answers our consent checks, at most 6 s apart, also when it is muted
PREFERENCE = {"video": ("video/H264", "video/VP8"), "audio": ("audio/opus",)}
NEGOTIATION_ERRORS = (OperationError, InvalidAccessError, InvalidStateError, ValueError, AssertionError, KeyError)
TRICKLE = "a=ice-options:trickle"

OnConnectionState = Callable[[str], None]


class OtherIceCredentials(ValueError):  # noqa: N818  says what is the case
    """A fragment is for other ICE credentials than the session's: an ICE restart, which aiortc cannot do."""


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What a peer can tell of its media. width and height are those of the last decoded picture; forwarded: pictures go
    back without being decoded. None: not known (yet).
    """

    video_codec: str
    width: int | None
    height: int | None
    forwarded: bool
    frames_sent: int
    frame_rate_cap: float | None
    bits_per_second_limit: int | None
    round_trip_seconds: float | None
    audio_packets_lost: int
    silent_seconds: float


class _OutgoingTrack(MediaStreamTrack):
    """Says that something will be sent; what is sent comes from our own paths, not from here."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> NoReturn:
        raise MediaStreamError


class AnsweringConnection(ABC):
    """The answering end of one peer connection. direction: of our media lines, as SDP names it."""

    direction = "sendrecv"

    def __init__(self, address: MediaAddress, on_state: OnConnectionState) -> None:
        configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self._connection = RTCPeerConnection(configuration)
        self._address, self._on_state = address, on_state
        self._remote_ice = ("", "")
        self._remote_candidates = 0

    @property
    def silent_seconds(self) -> float:
        """How long nothing at all was heard of the peer, neither media nor ICE."""
        return time.monotonic() - compat.last_contact(self._connection)

    @property
    def is_lost(self) -> bool:
        """Whether the peer has gone without a word."""
        return self.silent_seconds > SILENT_SECONDS

    async def answer(self, offer: Offer) -> str:
        """Answer a checked offer and start; returns SDP with all candidates. Raises InvalidOffer, MediaUnavailable."""
        self._start()
        self._connection.on("connectionstatechange", lambda: self._on_state(self._connection.connectionState))
        for line in offer.media:
            self._prepare(line)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        except NEGOTIATION_ERRORS as error:
            raise InvalidOffer("sdp", f"cannot be negotiated: {error}") from error
        self._remote_ice, self._remote_candidates = offer.ice, offer.candidates
        lines = {line.mid: line for line in offer.media}
        for transceiver in self._connection.getTransceivers():
            self._wire(transceiver, lines[str(transceiver.mid)])
        compat.open_sockets_with(self._connection, self._address.open)
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return _with_trickle(self._connection.localDescription.sdp)

    async def add_candidates(self, fragment: Fragment) -> None:
        """Take trickled candidates; those beyond the limit of a session are dropped. Raises OtherIceCredentials."""
        if fragment.ice != self._remote_ice:
            raise OtherIceCredentials
        room = MAXIMUM_CANDIDATES - self._remote_candidates
        for mid, line in fragment.candidates[:room]:
            candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
            candidate.sdpMid = mid or str(self._connection.getTransceivers()[0].mid)
            self._remote_candidates += 1
            await self._connection.addIceCandidate(candidate)

    async def close(self) -> None:
        """Stop sending and receiving, close sockets, end the threads. Bounded in time; never raises."""
        self._connection.remove_all_listeners("connectionstatechange")
        await self._stop()
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001  a peer that does not close cleanly must not keep its session open
            log.warning("peer connection did not close cleanly", error=str(error), kind=type(error).__name__)

    def _prepare(self, line: MediaLine) -> None:
        sends = self.direction != "recvonly"
        what = _OutgoingTrack(line.kind) if sends else line.kind
        transceiver = self._connection.addTransceiver(what, direction=self.direction)
        transceiver.setCodecPreferences(_preferences(line.kind, self._codecs_allowed(line.kind)))

    def _codecs_allowed(self, kind: str) -> tuple[str, ...]:
        """MIME types of the codecs that may be negotiated, in the order in which we like them."""
        return PREFERENCE[kind]

    @abstractmethod
    def _start(self) -> None:
        """Start what the media need, before the offer is answered."""

    @abstractmethod
    def _wire(self, transceiver: RTCRtpTransceiver, line: MediaLine) -> None:
        """Join one negotiated media line to its path."""

    @abstractmethod
    async def _stop(self) -> None:
        """End the media paths. Never raises."""


def _with_trickle(sdp: str) -> str:
    """Say at session level that trickled candidates are taken (RFC 8840)."""
    return sdp.replace("\r\nt=0 0\r\n", f"\r\nt=0 0\r\n{TRICKLE}\r\n", 1)


def _preferences(kind: str, order: tuple[str, ...]) -> list[RTCRtpCodecCapability]:
    """Our capabilities among `order`, and retransmission."""
    ranks = {name.lower(): rank for rank, name in enumerate(order)}
    ranks[f"{kind}/rtx"] = len(ranks)
    codecs = RTCRtpSender.getCapabilities(kind).codecs
    return sorted(
        (codec for codec in codecs if codec.mimeType.lower() in ranks), key=lambda codec: ranks[codec.mimeType.lower()]
    )
