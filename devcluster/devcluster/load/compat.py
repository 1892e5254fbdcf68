"""The only place of the load client that touches private names of aiortc and aioice (aiortc 1.16.0, aioice 0.13.0).

What is bent and why:
- Host candidates: aioice offers every interface but loopback; load on one machine must come from an address of 127/8.
- Decoding: aiortc starts a decoder thread with an unbounded queue for each received track. A load client counts frames
  by their RTP marker bit and decodes, if at all, on one bounded worker. Replacing the queue by a sink whose `get` says
  "ended" lets the stock thread return at once and hands complete encoded frames to us.
- Consent checks: aioice sees that the other side is gone after 6 missed checks of 5 s and more; a short run needs
  to know sooner.
- Losses: packets can be left out on the way to and from the transport, by counting, so that runs are alike.
- Keyframe requests (PLI, FIR) reach a pre-encoded clip, which answers by jumping to its next keyframe.
`self_test` fails loudly when a new version no longer has these names.
"""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aioice.ice
import aiortc.rtcrtpreceiver
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver

PacketSeen = Callable[[int, bool], None]
"""(RTP timestamp, marker bit) of each packet received."""
FrameSeen = Callable[[bytes, int], None]
"""(encoded frame, RTP timestamp) of each frame that the jitter buffer completed: one frame after its last packet."""

_RTCP_SECOND_BYTES = range(192, 224)  # RFC 5761 section 4

_DECODER_QUEUE = "_RTCRtpReceiver__decoder_queue"
_TIMESTAMP_MAPPER = "_RTCRtpReceiver__timestamp_mapper"


def use_host_addresses(peer: RTCPeerConnection, addresses: Sequence[str]) -> None:
    """Gather host candidates on exactly these local addresses. Call between adding tracks and setting the offer."""
    wanted = list(addresses)
    for transceiver in peer.getTransceivers():
        connection = transceiver.sender.transport.transport.iceGatherer._connection  # noqa: SLF001  see above
        gather = connection.get_component_candidates

        async def gather_on(component: int, addresses: list[str], timeout: int = 5, *, stock: Any = gather) -> Any:
            return await stock(component=component, addresses=wanted, timeout=timeout)

        _replace(connection, "get_component_candidates", gather_on)


def notice_loss_sooner() -> None:
    """Ask for consent every 2 s instead of 5, for all peers of this process: a dead service shows in 15 s."""
    _replace(aioice.ice, "CONSENT_INTERVAL", 2)


class _SameTimestamp:
    """Keeps the RTP timestamp of a frame, where aiortc would count from its first one."""

    def map(self, timestamp: int) -> int:
        return timestamp


@dataclass(frozen=True)
class _FrameSink:
    """Stands where aiortc's unbounded decoder queue was."""

    frame_seen: FrameSeen
    ended: Callable[[], None]

    def get(self) -> None:
        """What the decoder thread reads first: "ended", so it returns."""

    def put(self, item: tuple[Any, Any] | None) -> None:
        if item is None:
            self.ended()
        else:
            self.frame_seen(item[1].data, item[1].timestamp)


def tap_receiver(
    receiver: RTCRtpReceiver, packet_seen: PacketSeen, frame_seen: FrameSeen, ended: Callable[[], None]
) -> None:
    """Hand packets and encoded frames to callbacks on the event loop; nothing is decoded and no thread stays.

    `ended` is called when the other side says BYE or its transport closes, and when the peer connection is closed
    here. Call before the answer is set; the receiver's track must not be read.
    """
    stock = receiver._handle_rtp_packet  # noqa: SLF001  see above

    async def handle(packet: Any, arrival_time_ms: int) -> None:
        packet_seen(packet.timestamp, bool(packet.marker))
        await stock(packet, arrival_time_ms=arrival_time_ms)

    _replace(receiver, "_handle_rtp_packet", handle)
    _replace(receiver, _DECODER_QUEUE, _FrameSink(frame_seen, ended))
    _replace(receiver, _TIMESTAMP_MAPPER, _SameTimestamp())


def lose_packets(transceiver: RTCRtpTransceiver, every: int) -> None:
    """Lose one RTP packet in `every`, separately in both directions, retransmissions too. Call after tap_receiver."""
    transport, receiver = transceiver.sender.transport, transceiver.receiver
    send, handle = transport._send_rtp, receiver._handle_rtp_packet  # noqa: SLF001  see above
    sent, received = itertools.count(1), itertools.count(1)

    async def send_most(data: bytes) -> None:
        if data[1] in _RTCP_SECOND_BYTES or next(sent) % every:
            await send(data)

    async def handle_most(packet: Any, arrival_time_ms: int) -> None:
        if next(received) % every:
            await handle(packet, arrival_time_ms=arrival_time_ms)

    _replace(transport, "_send_rtp", send_most)
    _replace(receiver, "_handle_rtp_packet", handle_most)


def tap_keyframe_requests(sender: RTCRtpSender, requested: Callable[[], None]) -> None:
    """Call back on each PLI or FIR that asks this sender for a keyframe."""
    _replace(sender, "_send_keyframe", requested)


def keyframe_requester(receiver: RTCRtpReceiver) -> Callable[[], Awaitable[None]]:
    """A coroutine function that asks the sender of the received stream for a keyframe (PLI)."""

    async def request() -> None:
        for source in receiver.getSynchronizationSources():
            await receiver._send_rtcp_pli(source.source)  # noqa: SLF001  see above

    return request


def _replace(target: object, name: str, value: object) -> None:
    if not hasattr(target, name):
        kind = getattr(target, "__name__", type(target).__name__)
        raise RuntimeError(f"no {kind}.{name}: this load client is made for aiortc 1.16.0 and aioice 0.13.0")
    setattr(target, name, value)


async def self_test() -> None:
    """Raise RuntimeError when the installed aiortc or aioice lacks what this module relies on; takes milliseconds."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        transceiver = peer.addTransceiver("video")
        use_host_addresses(peer, ["127.0.0.1"])
        tap_receiver(transceiver.receiver, lambda _time, _marker: None, lambda _data, _time: None, lambda: None)
        tap_keyframe_requests(transceiver.sender, lambda: None)
        await peer.setLocalDescription(await peer.createOffer())
        lines = peer.localDescription.sdp.splitlines()
        if sum(" 127.0.0.1 " in line for line in lines if line.startswith("a=candidate")) != 1:
            raise RuntimeError("aioice no longer gathers the addresses that it is given: see load/compat.py")
        await asyncio.to_thread(_decoder_returns)
    finally:
        await peer.close()


def _decoder_returns() -> None:
    """The stock decoder loop must return on a sink; it posts "ended" to a loop, for which a plain one stands in."""
    loop = asyncio.new_event_loop()
    try:
        output: asyncio.Queue[None] = asyncio.Queue()
        sink = _FrameSink(lambda _data, _time: None, lambda: None)
        worker: Callable[..., None] = aiortc.rtcrtpreceiver.decoder_worker
        worker(loop, sink, output, threading.Event())
        loop.run_until_complete(asyncio.wait_for(output.get(), 1))
    except (TypeError, AttributeError, TimeoutError) as error:
        raise RuntimeError("aiortc's decoder loop has changed: see load/compat.py") from error
    finally:
        loop.close()
