"""Every private name of aiortc 1.16 and aioice 0.13 that the mediapod touches, and a test of them that runs at start.

What is replaced, on single objects and never on modules or classes (another peer connection in the process stays as
it was):
the receiver's jitter buffer and decoder thread, its requests for retransmission, the sender's encoder and header
extensions, how the ICE connection opens its sockets, and how the ICE transport hands datagrams on.
"""
# ruff: noqa: SLF001  this module is the one place where private names of aiortc and aioice may be used

from __future__ import annotations

import asyncio
import importlib.metadata
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, cast

from aioice import Candidate
from aioice.ice import Connection, StunProtocol
from aioice.turn import TurnClientUdpProtocol
from aiortc import (
    RTCCertificate,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
)
from aiortc.codecs import is_rtx
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
    RTCRtpReceiveParameters,
)
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    RtpPacket,
    pack_header_extensions,
    unpack_header_extensions,
)

from mediapod.rtc.datagrams import TimedDatagram
from mediapod.rtc.repair import Retransmissions

SUPPORTED = {"aiortc": "1.16.", "aioice": "0.13."}
MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
ABS_SEND_TIME_URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
PLAYOUT_DELAY_URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
COLOR_SPACE_URI = "http://www.webrtc.org/experiments/rtp-hdrext/color-space"
OWN_EXTENSIONS = (PLAYOUT_DELAY_URI, COLOR_SPACE_URI)  # of video, beside those of aiortc
PLAYOUT_DELAY_NONE = b"\x00\x00\x00"  # minimum and maximum 0: show a frame as soon as it is decoded
QUEUED_DATAGRAMS = 2048  # per ICE connection; libwebrtc's socket buffers hold about as much
TURN_NAMES = [  # undocumented, used by relay_socket
    *("_send", "channel_bind", "channel_refresh_at", "channel_refresh_time", "channel_to_peer", "connect", "delete"),
    *("peer_to_channel", "receiver", "relayed_address", "send_data"),
]
STUN_FIRST_BYTES = range(4)  # RFC 7983 section 7
MOST_SOURCES = 24  # of a peer connection; aiortc reports on each in one packet, which has room for 31 (RFC 3550 6.4.2)

OnPacket = Callable[[RtpPacket, bytes, RTCRtpCodecParameters, float], bool]
NextFrame = Callable[[RTCRtpCodecParameters], Awaitable[RTCEncodedFrame]]
OpenSockets = Callable[[Connection, int], Awaitable[list[Candidate]]]


class IncompatibleAiortc(RuntimeError):  # noqa: N818  says what is the case
    """aiortc or aioice differ from what this module was written for; the message lists what is missing."""


class RateTarget(Protocol):
    """Where the bandwidth that the peer announces (REMB) goes."""

    target_bitrate: int


class _ArrivalNote:
    """Stands where an ICE transport has its `_recv`; remembers when the datagram under way arrived.

    The DTLS transport takes and finishes one datagram at a time, so what is noted belongs to the packet that the
    receiver gets next.
    """

    def __init__(self, receive: Callable[[], Awaitable[bytes]]) -> None:
        self._receive = receive
        self.arrived = time.monotonic()

    async def __call__(self) -> bytes:
        data = await self._receive()
        self.arrived = data.arrived if isinstance(data, TimedDatagram) else time.monotonic()
        return data


def _arrival_note(receiver: RTCRtpReceiver) -> _ArrivalNote:
    """The note of the receiver's transport; bundled receivers share one."""
    transport: Any = receiver.transport.transport
    if not isinstance(transport._recv, _ArrivalNote):
        transport._recv = _ArrivalNote(transport._recv)
    return cast("_ArrivalNote", transport._recv)


class _PacketTap:
    """Stands where aiortc has its jitter buffer: hands each packet on and says whether to ask for a keyframe."""

    def __init__(self, receiver: RTCRtpReceiver, on_packet: OnPacket) -> None:
        self._codecs: dict[int, RTCRtpCodecParameters] = _private(receiver, "codecs")
        self._on_packet = on_packet
        self._note = _arrival_note(receiver)

    def add(self, packet: Any) -> tuple[bool, None]:
        codec = self._codecs[packet.payload_type]
        return self._on_packet(packet, packet._data, codec, self._note.arrived), None


class _Sources(dict[int, Any]):
    """Stands where the router has its table by SSRC. Takes no further ones when full: an SSRC costs nothing to invent,
    and aiortc keeps statistics of each for as long as the connection lasts.
    """

    def __setitem__(self, source: int, receiver: Any) -> None:
        if source in self or len(self) < MOST_SOURCES:
            super().__setitem__(source, receiver)


def _bound_sources(receiver: RTCRtpReceiver) -> None:
    """Drop packets of sources beyond the first ones."""
    router = receiver.transport._rtp_router
    if not isinstance(router.ssrc_table, _Sources):
        router.ssrc_table = _Sources(router.ssrc_table)
    handle = receiver._handle_rtp_packet

    async def handle_known(packet: RtpPacket, arrival_time_ms: int) -> None:
        if packet.ssrc in router.ssrc_table:
            await handle(packet, arrival_time_ms)

    receiver._handle_rtp_packet = handle_known  # type: ignore[method-assign]


class _HeaderExtensionReader(HeaderExtensionsMap):
    """Stands where the DTLS transport has its map; reads the color space too, and damaged extensions only cost their
    packet: aiortc's own lets struct.error end the transport.
    """

    def __init__(self) -> None:
        super().__init__()
        self._color_space: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        ids = {extension.uri: extension.id for extension in parameters.headerExtensions}
        self._color_space = ids.get(COLOR_SPACE_URI, self._color_space)

    def get(self, extension_profile: int, extension_value: bytes) -> HeaderExtensions:
        try:
            values = super().get(extension_profile, extension_value)
            if self._color_space is not None:
                found = dict(unpack_header_extensions(extension_profile, extension_value))
                vars(values)["color_space"] = found.get(self._color_space)
        except (struct.error, IndexError) as error:
            raise ValueError(f"damaged header extensions: {error}") from error
        return values


class _HeaderExtensionWriter:
    """Stands where the sender has its HeaderExtensionsMap: MID, absolute send time, playout delay and color space."""

    def __init__(self, color_space: Callable[[], bytes | None]) -> None:
        self._read_color_space = color_space
        self._ids: dict[str, int] = {}

    def configure(self, parameters: RTCRtpParameters) -> None:
        self._ids = {extension.uri: extension.id for extension in parameters.headerExtensions}

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        send_time = values.abs_send_time
        wanted: list[tuple[str, bytes | None]] = [
            (MID_URI, values.mid.encode() if values.mid is not None else None),
            (ABS_SEND_TIME_URI, send_time.to_bytes(3, "big") if send_time is not None else None),
            (PLAYOUT_DELAY_URI, PLAYOUT_DELAY_NONE),
            (COLOR_SPACE_URI, self._read_color_space()),
        ]
        ids = self._ids
        return pack_header_extensions([(ids[uri], value) for uri, value in wanted if value is not None and uri in ids])


class GuardedProtocol(StunProtocol):
    """A media socket that hands datagrams other than STUN on only when they come from the peer that ICE has
    authenticated.

    Without this, anybody who can reach the port can feed the DTLS handshake (the ClientHello race). Notes when the peer
    was heard last.
    """

    def __init__(self, receiver: Connection) -> None:
        super().__init__(receiver)
        self.last_heard = time.monotonic()

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Filter one datagram. STUN is authenticated by aioice itself."""
        if not data:
            return
        address = (addr[0], addr[1])
        if data[0] in STUN_FIRST_BYTES:
            if self._is_peer(address):
                self.last_heard = time.monotonic()
            super().datagram_received(data, addr)
        elif self._is_peer(address) and self._has_room():
            self.last_heard = time.monotonic()
            # What aioice does after it has failed to read the datagram as STUN, which costs more than all of this.
            self.receiver.data_received(cast("bytes", data), self.local_candidate.component)

    def _is_peer(self, address: tuple[str, int]) -> bool:
        nominated = self.receiver._nominated.get(self.local_candidate.component)
        if nominated is not None:
            return bool(nominated.protocol is self and nominated.remote_addr == address)
        return any(
            pair.protocol is self and pair.remote_addr == address and pair.state is pair.State.SUCCEEDED
            for pair in self.receiver._check_list
        )

    def _has_room(self) -> bool:
        return self.receiver._queue.qsize() < QUEUED_DATAGRAMS


def _private(instance: object, name: str) -> Any:
    return getattr(instance, _mangled(instance, name))


def _replace(instance: object, name: str, value: object) -> None:
    mangled = _mangled(instance, name)
    if not hasattr(instance, mangled):
        raise IncompatibleAiortc(f"{type(instance).__name__} has no private attribute {name}")
    setattr(instance, mangled, value)


def _mangled(instance: object, name: str) -> str:
    return f"_{type(instance).__name__}__{name}"


def take_over_receiver(receiver: RTCRtpReceiver, on_packet: OnPacket, on_disconnect: Callable[[], None]) -> None:
    """Make `receiver` hand every RTP packet to `on_packet` instead of assembling and decoding frames itself.

    on_packet(packet, payload without the RTP payload header, codec, time of arrival) runs on the event loop and returns
    whether a picture loss indication is to be sent. on_disconnect: the DTLS transport has closed.
    """
    _replace(receiver, "jitter_buffer", _PacketTap(receiver, on_packet))
    if _private(receiver, "nack_generator") is not None:
        _replace(receiver, "nack_generator", Retransmissions(time.monotonic))

    _bound_sources(receiver)
    if not isinstance(receiver.transport._rtp_header_extensions_map, _HeaderExtensionReader):
        receiver.transport._rtp_header_extensions_map = _HeaderExtensionReader()

    async def receive(parameters: RTCRtpReceiveParameters) -> None:
        _start_receiver(receiver, parameters)

    receiver.receive = receive  # type: ignore[method-assign]
    receiver._handle_disconnect = on_disconnect  # type: ignore[method-assign]


def _start_receiver(receiver: RTCRtpReceiver, parameters: RTCRtpReceiveParameters) -> None:
    """What RTCRtpReceiver.receive does, without a decoder thread."""
    if _private(receiver, "started"):
        return
    codecs, rtx = _private(receiver, "codecs"), _private(receiver, "rtx_ssrc")
    codecs.update({codec.payloadType: codec for codec in parameters.codecs})
    rtx.update({encoding.rtx.ssrc: encoding.ssrc for encoding in parameters.encodings if encoding.rtx})
    receiver.transport._register_rtp_receiver(receiver, parameters)
    _replace(receiver, "rtcp_task", asyncio.ensure_future(receiver._run_rtcp()))
    _replace(receiver, "started", True)


def color_space_of(packet: RtpPacket) -> bytes | None:
    """The header extension color-space of a received packet."""
    return cast("bytes | None", getattr(packet.extensions, "color_space", None))


def take_over_sender(
    sender: RTCRtpSender,
    next_frame: NextFrame,
    on_keyframe_request: Callable[[], None],
    rate: RateTarget | None,
    color_space: Callable[[], bytes | None] = lambda: None,
) -> None:
    """Make `sender` send what `next_frame` returns; it is called again when the last packet has been handed to the
    socket. color_space: what its packets say of their colours (the header extension), None for nothing.
    """

    async def next_encoded_frame(codec: RTCRtpCodecParameters) -> RTCEncodedFrame:
        return await next_frame(codec)

    sender._next_encoded_frame = next_encoded_frame  # type: ignore[method-assign]
    sender._send_keyframe = on_keyframe_request  # type: ignore[method-assign]
    _replace(sender, "encoder", rate)
    if sender.kind == "video":
        _replace(sender, "rtp_header_extensions_map", _HeaderExtensionWriter(color_space))


def negotiate_extensions(transceiver: RTCRtpTransceiver, extensions: Mapping[str, int]) -> None:
    """Answer these offered header extensions, URI -> id, too. Without playout-delay browsers hold frames for 50 ms and
    more; without color-space they take VP8 for limited range, BT.601, whatever they themselves send.
    """
    ours = [RTCRtpHeaderExtensionParameters(id=number, uri=uri) for uri, number in extensions.items()]
    transceiver._headerExtensions = [*transceiver._headerExtensions, *ours]


def ask_for_opus(transceiver: RTCRtpTransceiver, parameters: Mapping[str, int]) -> None:
    """Answer with these Opus parameters. aiortc's own answer has none, and without useinbandfec=1 in it browsers do not
    send forward error correction.
    """
    for codec in transceiver._codecs:
        if codec.name.lower() == "opus":
            codec.parameters = dict(parameters)


def chosen_codec(transceiver: RTCRtpTransceiver) -> RTCRtpCodecParameters:
    """The codec that will be sent, as negotiated."""
    return next(codec for codec in transceiver._codecs if not is_rtx(codec))


def open_sockets_with(peer: RTCPeerConnection, open_sockets: OpenSockets) -> None:
    """Let `open_sockets(connection, component)` make the local candidates of every ICE connection of `peer`."""
    transports = {transceiver.receiver.transport.transport for transceiver in peer.getTransceivers()}
    for transport in transports:
        connection = transport._connection

        async def component_candidates(
            component: int, addresses: list[str], timeout: int = 5, *, connection: Connection = connection
        ) -> list[Candidate]:
            return await open_sockets(connection, component)

        connection.get_component_candidates = component_candidates  # type: ignore[method-assign]


def last_contact(peer: RTCPeerConnection) -> float:
    """When anything at all was heard from the peer, in time.monotonic() seconds."""
    transports = {transceiver.receiver.transport.transport for transceiver in peer.getTransceivers()}
    sockets = [one for transport in transports for one in transport._connection._protocols]
    return max((one.last_heard for one in sockets if isinstance(one, GuardedProtocol)), default=0.0)


def round_trip_seconds(sender: RTCRtpSender) -> float | None:
    """The round trip that the peer's receiver reports allow to calculate (RFC 3550 section 6.4.1), None before one."""
    return cast("float | None", _private(sender, "rtt"))


def keep_socket(connection: Connection, protocol: StunProtocol) -> None:
    """Give `connection` a socket: it checks pairs over it and closes it in the end."""
    connection._protocols.append(protocol)


async def self_test() -> None:
    """Check that aiortc and aioice have every private name used here.

    Raises IncompatibleAiortc with the list of what differs.
    """
    problems = [
        f"{name} {importlib.metadata.version(name)} is installed, {prefix}x is needed"
        for name, prefix in SUPPORTED.items()
        if not importlib.metadata.version(name).startswith(prefix)
    ]
    problems += _missing_names()
    if problems:
        raise IncompatibleAiortc("; ".join(problems) + "; install with: pip install -c constraints.txt mediapod")


def _missing_names() -> list[str]:
    gatherer = RTCIceGatherer(iceServers=[])
    transport = RTCDtlsTransport(RTCIceTransport(gatherer), [RTCCertificate.generateCertificate()])
    receiver, sender = RTCRtpReceiver("video", transport), RTCRtpSender("video", transport)
    transceiver = RTCRtpTransceiver("video", receiver, sender)
    connection = transport.transport._connection
    receiver_names = ["jitter_buffer", "nack_generator", "started", "codecs", "rtx_ssrc", "rtcp_task"]
    expected: list[tuple[object, list[str]]] = [
        (receiver, [_mangled(receiver, name) for name in receiver_names]),
        (receiver, ["_handle_disconnect", "_handle_rtp_packet", "_run_rtcp"]),
        (sender, [_mangled(sender, name) for name in ("encoder", "rtp_header_extensions_map", "rtt")]),
        (sender, ["_next_encoded_frame", "_send_keyframe"]),
        (transport, ["_register_rtp_receiver", "_rtp_router", "_rtp_header_extensions_map"]),
        (transport._rtp_router, ["ssrc_table"]),
        (transport.transport, ["_recv", "_connection"]),
        (transceiver, ["_headerExtensions", "_codecs"]),
        (connection, ["get_component_candidates", "_protocols", "_nominated", "_check_list", "_queue"]),
        (TurnClientUdpProtocol(("127.0.0.1", 1), "", "", 600, 500), TURN_NAMES),
    ]
    return [
        f"{type(owner).__name__} has no {name}"
        for owner, names in expected
        for name in names
        if not hasattr(owner, name)
    ]
