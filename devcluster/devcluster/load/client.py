"""One load client: a WebRTC session that sends a pre-encoded clip in real time and counts what comes back.

Nothing is encoded. Returned frames are counted by their RTP marker bit and matched by their RTP timestamp
(`timeline.py`); only inspecting clients decode all of them, the others decode until one number was read. A returned
frame is not checked for missing packets unless it is decoded: that is what inspecting clients are for.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from devcluster.load import compat
from devcluster.load.clips import VIDEO_CLOCK_HERTZ, Clip, Codec
from devcluster.load.inspector import Inspection, Inspector
from devcluster.load.signalling import OfferError, OfferRejectedError, offer_until
from devcluster.load.statistics import SILENT_SECONDS, EndReason, SessionStatistics
from devcluster.load.timeline import EchoTimeline, Match

_CLOCK = Fraction(1, VIDEO_CLOCK_HERTZ)
_LAST_ECHO_SECONDS = 0.5  # how long the last frames may take to come back before a session is closed
_CLOSE_TIMEOUT_SECONDS = 5.0
_KEYFRAME_WISH_SECONDS = 0.5


@dataclass(frozen=True)
class ClientSettings:
    """How a client behaves. host_addresses: local addresses for media; empty: 127.0.0.1 for a service in 127/8.

    lose_every: every so many RTP packets one is lost, on the way there and on the way back; 0: none.
    """

    service_url: str
    stages: tuple[Mapping[str, Any], ...] = ()
    host_addresses: tuple[str, ...] = ()
    token: str = ""
    offer_timeout_seconds: float = 10.0
    retry_seconds: float = 60.0
    connect_timeout_seconds: float = 20.0
    lose_every: int = 0

    def addresses(self) -> tuple[str, ...]:
        """The local media addresses; empty leaves the choice to ICE."""
        if self.host_addresses:
            return self.host_addresses
        host = urlsplit(self.service_url).hostname or ""
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = host == "localhost"
        return ("127.0.0.1",) if loopback else ()


class ClipTrack(MediaStreamTrack):
    """Plays a clip in a loop at its own pace as encoded packets; a keyframe request jumps to the next keyframe."""

    kind = "video"

    def __init__(self, clip: Clip, frame_sent: Callable[[int], None]) -> None:
        super().__init__()
        self._clip = clip
        self._frame_sent = frame_sent
        self._count = 0
        self._position = 0
        self._previous: int | None = None
        self._start: float | None = None
        self._jump_at = 0.0
        self._stopped = asyncio.Event()

    def want_keyframe(self) -> None:
        """Continue with the clip's next keyframe; wishes within half a second of the last are one."""
        now = time.monotonic()
        if self._count > 1 and now >= self._jump_at:
            self._jump_at = now + _KEYFRAME_WISH_SECONDS
            self._position = self._clip.next_keyframe(self._position)

    def finish(self) -> None:
        """Send nothing more; the session stays."""
        self._stopped.set()

    async def recv(self) -> "av.Packet[Any]":
        """The next frame, when it is due. The sender asks right after the last packet of the frame before left."""
        if self._previous is not None:
            self._frame_sent(self._previous)
            self._previous = None
        await self._wait_until_due()
        if self._stopped.is_set():
            await asyncio.get_running_loop().create_future()  # until the sender is stopped, which cancels this
        if self.readyState != "live":
            raise MediaStreamError
        return self._next_packet()

    async def _wait_until_due(self) -> None:
        loop = asyncio.get_running_loop()
        if self._start is None:
            self._start = loop.time()
        due = self._start + self._count / self._clip.spec.frames_per_second
        await asyncio.sleep(max(0.0, due - loop.time()))

    def _next_packet(self) -> "av.Packet[Any]":
        packet = av.Packet(self._clip.frames[self._position])
        packet.pts, packet.time_base = self._count * self._clip.spec.ticks_per_frame, _CLOCK
        self._previous = self._position
        self._position = (self._position + 1) % len(self._clip.frames)
        self._count += 1
        return packet


def _codecs(codec: Codec) -> list[RTCRtpCodecCapability]:
    """Only the wanted codec (H.264: constrained baseline 42e01f first) and retransmission."""
    offered = [one for one in RTCRtpSender.getCapabilities("video").codecs if one.mimeType == f"video/{codec}"]
    offered.sort(key=lambda one: one.parameters.get("profile-level-id") != "42e01f")
    resend = [one for one in RTCRtpSender.getCapabilities("video").codecs if one.mimeType == "video/rtx"]
    return [*offered[:1], *resend[:1]]


class LoadClient:
    """One session. `run` returns its statistics when it is over; `close` ends it from another task."""

    def __init__(
        self,
        name: str,
        clip: Clip,
        settings: ClientSettings,
        *,
        inspect: bool = False,
        round_trip_seen: Callable[[float, float], None] = lambda _at, _seconds: None,
    ) -> None:
        self.statistics = SessionStatistics(name, clip.spec.codec, inspect)
        self._clip = clip
        self._settings = settings
        self._inspect = inspect
        self._round_trip_seen = round_trip_seen
        self._timeline = EchoTimeline(clip.spec.ticks_per_frame)
        self._inspector = Inspector(clip.spec.codec, settings.stages if inspect else (), self._inspected)
        self._track = ClipTrack(clip, self._frame_sent)
        self._ended: asyncio.Future[tuple[EndReason, str]] = asyncio.get_running_loop().create_future()
        self._ask_keyframe: Callable[[], Any] | None = None
        self._asked_at = 0.0
        self._decoding = True  # the first returned frame is a keyframe
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock_offset = time.time() - time.monotonic()

    @property
    def connected(self) -> bool:
        """True from the connection to the end."""
        return self.statistics.connect_seconds is not None and not self._ended.done()

    @property
    def silent(self) -> bool:
        """True while connected although nothing has come back for five seconds."""
        return self.connected and self.statistics.silent_seconds(time.time()) > SILENT_SECONDS

    async def close(self) -> None:
        """End the session from this side: stop sending, wait for the last echoes, close. `run` then returns."""
        self._track.finish()
        if self.connected:
            await asyncio.sleep(_LAST_ECHO_SECONDS)
        self.statistics.silent_at_close = self.silent
        silent = f"nothing came back for {self.statistics.silent_seconds(time.time()):.1f} s" if self.silent else ""
        self._end("client closed", silent)

    async def run(self) -> SessionStatistics:
        """Offer, connect, play until the end; never raises for what the network or the service does."""
        self.statistics.started_time = time.time()
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            await self._connect(peer)
            await asyncio.shield(self._ended)
        except OfferRejectedError as error:
            self._end("rejected", str(error))
        except (OfferError, TimeoutError, ValueError) as error:
            self._end("failed", str(error) or repr(error))
        finally:
            self._end("client closed", "cancelled")
            await self._shut(peer)
            self._finish_statistics(*self._ended.result())
        return self.statistics

    async def _connect(self, peer: RTCPeerConnection) -> None:
        connected = self._prepare(peer)
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self._offer_unless_closed(peer.localDescription.sdp)
        if answer is None:
            return
        await peer.setRemoteDescription(answer)
        waiting: set[asyncio.Future[Any]] = {connected, self._ended}
        done, _ = await asyncio.wait(
            waiting, timeout=self._settings.connect_timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise TimeoutError(f"not connected within {self._settings.connect_timeout_seconds:g} s after the answer")
        if connected in done:
            self.statistics.connect_seconds = time.time() - self.statistics.started_time

    async def _offer_unless_closed(self, sdp: str) -> RTCSessionDescription | None:
        settings = self._settings
        offer = asyncio.ensure_future(
            offer_until(
                settings.service_url,
                sdp,
                self.statistics,
                deadline_seconds=settings.retry_seconds,
                token=settings.token,
                timeout_seconds=settings.offer_timeout_seconds,
            )
        )
        waiting: set[asyncio.Future[Any]] = {offer, self._ended}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not offer.done():
                offer.cancel()
        if self._ended.done():
            return None
        answer = offer.result()
        self.statistics.session_id = answer.session_id
        return RTCSessionDescription(answer.sdp, answer.type)

    def _prepare(self, peer: RTCPeerConnection) -> "asyncio.Future[None]":
        """Track, codec, addresses and taps; returns what is done when the connection stands."""
        peer.addTrack(self._track)
        (transceiver,) = peer.getTransceivers()
        transceiver.setCodecPreferences(_codecs(self._clip.spec.codec))
        if addresses := self._settings.addresses():
            compat.use_host_addresses(peer, addresses)
        compat.tap_receiver(transceiver.receiver, self._packet_seen, self._frame_seen, self._stream_ended)
        if self._settings.lose_every:
            compat.lose_packets(transceiver, self._settings.lose_every)
        compat.tap_keyframe_requests(transceiver.sender, self._keyframe_wanted)
        self._ask_keyframe = compat.keyframe_requester(transceiver.receiver)
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def state_changed() -> None:
            if peer.connectionState == "connected" and not connected.done():
                connected.set_result(None)
            elif peer.connectionState == "failed":
                self._end("ICE lost" if connected.done() else "failed", "ICE or DTLS failed")
            elif peer.connectionState == "closed":
                self._service_gone("DTLS was closed")

        peer.on("connectionstatechange", state_changed)
        return connected

    def _end(self, reason: EndReason, detail: str) -> None:
        if not self._ended.done():
            self._ended.set_result((reason, detail))

    def _stream_ended(self) -> None:
        self._service_gone("the service said BYE or its transport ended")

    def _service_gone(self, detail: str) -> None:
        """aiortc closes the transport too when ICE is lost; a service that closes was heard just before."""
        silent = self.statistics.silent_seconds(time.time())
        if silent > SILENT_SECONDS:
            self._end("ICE lost", f"nothing came back for {silent:.1f} s")
        else:
            self._end("server closed", detail)

    async def _shut(self, peer: RTCPeerConnection) -> None:
        self._inspector.close()
        for task in self._tasks:
            task.cancel()
        self._track.stop()
        try:
            await asyncio.wait_for(peer.close(), _CLOSE_TIMEOUT_SECONDS)
        except TimeoutError:
            self.statistics.end_detail = "closing took too long; "

    def _finish_statistics(self, reason: EndReason, detail: str) -> None:
        one, timeline = self.statistics, self._timeline
        one.end_reason, one.end_detail, one.ended_time = reason, one.end_detail + detail, time.time()
        one.duplicates, one.unmatched, one.anchored_by = timeline.duplicates, timeline.unmatched, timeline.anchored_by
        one.frames_undecodable = self._inspector.undecodable
        one.frames_not_inspected = self._inspector.skipped if self._inspect else 0

    def _frame_sent(self, position: int) -> None:
        now = time.monotonic()
        self._timeline.add_sent(position, now)
        self.statistics.count_sent(now + self._clock_offset)

    def _packet_seen(self, timestamp: int, marker: bool) -> None:
        if marker:
            self._count(self._timeline.add_returned(timestamp, time.monotonic()))

    def _count(self, matches: list[Match]) -> None:
        for match in matches:
            self.statistics.count_returned(match.sent.at + self._clock_offset, match.round_trip_seconds)
            self._round_trip_seen(match.at + self._clock_offset, match.round_trip_seconds)

    def _frame_seen(self, data: bytes, timestamp: int) -> None:
        if not self._inspect and not self._timeline.needs_number:
            self._decoding = False
            return
        if not self._decoding:
            self._decoding = True
            self._want_returned_keyframe()
        if not self._inspector.add(data, timestamp):
            self._want_returned_keyframe()

    def _inspected(self, inspection: Inspection) -> None:
        one, number = self.statistics, inspection.number
        one.frames_decoded += 1
        if number is None:
            one.numbers_unreadable += 1
        elif self._timeline.needs_number:
            self._count(self._timeline.anchor(inspection.timestamp, number))
        else:
            expected = self._timeline.expected_number(inspection.timestamp)
            one.numbers_right += number == expected
            one.numbers_wrong += number != expected
        if inspection.verdict is not None:
            answer = inspection.verdict.answer
            one.verdicts[answer] = one.verdicts.get(answer, 0) + 1
            one.last_verdict_reason = inspection.verdict.reason

    def _keyframe_wanted(self) -> None:
        self.statistics.keyframe_requests += 1
        self._track.want_keyframe()

    def _want_returned_keyframe(self) -> None:
        """After skipped frames the decoder needs a new start; at most one wish in half a second."""
        now = time.monotonic()
        if self._ask_keyframe is None or now < self._asked_at + _KEYFRAME_WISH_SECONDS:
            return
        self._asked_at = now
        task = asyncio.ensure_future(self._ask_keyframe())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
