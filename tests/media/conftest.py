"""A mediapod in this process and stock aiortc clients that talk to it over real UDP on loopback."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from fractions import Fraction

import aioice.ice
import av
import httpx
import numpy as np
import pytest
from aiortc import (
    AudioStreamTrack,
    MediaStreamError,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from mediapod.engine import Engine
from mediapod.service import Mediapod
from mediapod.settings import Settings

CLOCK_RATE = 90_000
PATIENCE_SECONDS = 60.0  # with what comes within a second, unless others use the machine
LOOK_SECONDS = 0.02


class NumberedClip(MediaStreamTrack):
    """Moving bars with a frame number in the luma of the upper left corner; RTP time steps are deliberately uneven."""

    kind = "video"

    def __init__(self, width: int, height: int, frames_per_second: float) -> None:
        super().__init__()
        self._width, self._height, self._interval = width, height, 1 / frames_per_second
        self._pictures = [_picture(width, height, shift) for shift in range(8)]
        self._started: float | None = None
        self._count = 0
        self._timestamp = 0
        self._runs = asyncio.Event()
        self._runs.set()

    @property
    def count(self) -> int:
        """Pictures taken."""
        return self._count

    def pause(self) -> None:
        """Take no more pictures."""
        self._runs.clear()

    async def recv(self) -> av.VideoFrame:
        """The next picture, in time."""
        if self._started is None:
            self._started = time.monotonic()
        await asyncio.sleep(max(0.0, self._started + self._count * self._interval - time.monotonic()))
        await self._runs.wait()
        picture = self._pictures[self._count % len(self._pictures)]
        picture.pts, picture.time_base = self._timestamp, Fraction(1, CLOCK_RATE)
        self._count += 1
        self._timestamp += int(CLOCK_RATE * self._interval) + self._count % 3
        return picture


def _picture(width: int, height: int, shift: int) -> av.VideoFrame:
    columns = (np.arange(width) // 16 + shift) % 8 * 24 + 40
    y = np.broadcast_to(columns.astype(np.uint8), (height, width))
    chroma = np.full((height // 2, width), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(np.vstack([y, chroma])), format="yuv420p")


class Client:
    """A stock aiortc peer that records RTP timestamps: when each frame's last packet left and when it came back."""

    def __init__(
        self,
        base_url: str,
        codec: str,
        width: int,
        height: int,
        frames_per_second: float,
        audio: bool,
        configuration: RTCConfiguration | None = None,
    ) -> None:
        self._url = base_url
        self.connection = RTCPeerConnection(configuration or RTCConfiguration(iceServers=[]))
        transceiver = self.connection.addTransceiver(
            NumberedClip(width, height, frames_per_second), direction="sendrecv"
        )
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([c for c in codecs if c.name in (codec, "rtx")])
        self.audio = self.connection.addTransceiver(AudioStreamTrack(), direction="sendrecv") if audio else None
        self.audio_packets = 0
        if self.audio is not None:
            self._count_audio(self.audio.receiver)
        self.sent: dict[int, float] = {}
        self.returned: dict[int, float] = {}
        self.pictures: list[av.VideoFrame] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._tap(transceiver)
        self.session_id = self.location = ""

    def _tap(self, transceiver) -> None:  # type: ignore[no-untyped-def]
        receiver, transport = transceiver.receiver, transceiver.sender.transport
        handle, send = receiver._handle_rtp_packet, transport._send_rtp

        async def handle_rtp_packet(packet, arrival_time_ms) -> None:  # type: ignore[no-untyped-def]
            if packet.marker:
                self.returned.setdefault(packet.timestamp, time.monotonic())
            await handle(packet, arrival_time_ms)

        async def send_rtp(data: bytes) -> None:
            await send(data)
            if not 192 <= data[1] <= 223 and data[1] & 0x80:
                self.sent.setdefault(struct.unpack_from("!L", data, 4)[0], time.monotonic())

        receiver._handle_rtp_packet = handle_rtp_packet
        transport._send_rtp = send_rtp

    def _count_audio(self, receiver) -> None:  # type: ignore[no-untyped-def]
        handle = receiver._handle_rtp_packet

        async def handle_rtp_packet(packet, arrival_time_ms) -> None:  # type: ignore[no-untyped-def]
            self.audio_packets += 1
            await handle(packet, arrival_time_ms)

        receiver._handle_rtp_packet = handle_rtp_packet

    async def offer(self) -> dict[str, str]:
        """The JSON body of an offer."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return {"sdp": self.connection.localDescription.sdp, "type": "offer"}

    async def post(self) -> httpx.Response:
        """Send the offer; returns whatever comes back."""
        return await self.send(await self.offer())

    async def send(self, body: dict[str, str]) -> httpx.Response:
        """Send a body; returns whatever comes back."""
        async with httpx.AsyncClient() as http:
            return await http.post(f"{self._url}/webrtc/offer", json=body, timeout=PATIENCE_SECONDS)

    async def connect(self) -> None:
        """Connect, or fail the test."""
        await self.follow(await self.post())

    async def follow(self, response: httpx.Response) -> None:
        """Take the answer, or fail the test."""
        assert response.status_code == 200, response.text
        answer = response.json()
        self.session_id, self.location = answer["sessionId"], response.headers["location"]
        self.connection.on("track", self._consume)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))

    def _consume(self, track: MediaStreamTrack) -> None:
        async def consume() -> None:
            try:
                while True:
                    self.pictures.append(await track.recv())
            except MediaStreamError:
                return

        self._tasks.append(asyncio.get_running_loop().create_task(consume()))

    async def wait_for(self, count: int, timeout: float = PATIENCE_SECONDS) -> None:
        """Wait until `count` frames have come back."""
        await _eventually(
            lambda: len(self.returned) >= count, timeout, lambda: f"{len(self.returned)} of {count} came back"
        )

    @property
    def latencies(self) -> list[float]:
        """Seconds from the last packet of a frame sent until its last packet returned, matched by RTP timestamp."""
        offset = self.timestamp_offset()
        return [at - self.sent[(stamp - offset) % 2**32] for stamp, at in self.returned.items()]

    def timestamp_offset(self) -> int:
        """The constant between sent and returned timestamps; fails when there is none."""
        first = next(iter(self.returned))
        for candidate in self.sent:
            offset = (first - candidate) % 2**32
            if all((stamp - offset) % 2**32 in self.sent for stamp in self.returned):
                return offset
        raise AssertionError("returned RTP timestamps are not the sent ones plus a constant")

    def vanish(self) -> None:
        """Stop without a word, as a killed process does."""
        for transceiver in self.connection.getTransceivers():
            ice = transceiver.sender.transport.transport._connection
            for protocol in ice._protocols:
                protocol.transport.close()

    async def close(self) -> None:
        """Close properly."""
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _eventually(condition: Callable[[], bool], timeout: float, describe: Callable[[], str] = str) -> None:
    """Wait until `condition()` holds. A time in which this process did not run does not count: the pod is in it."""
    left, looked_at = timeout, time.monotonic()
    while not condition():
        assert left > 0, f"not within {timeout} s: {describe()}"
        await asyncio.sleep(LOOK_SECONDS)
        now = time.monotonic()
        left, looked_at = left - min(now - looked_at, 10 * LOOK_SECONDS), now


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """`await eventually(condition, seconds, describe)` waits until the condition holds, or fails the test."""
    return _eventually


class Server:
    """A started mediapod and its addresses."""

    def __init__(self, mediapod: Mediapod) -> None:
        self.mediapod = mediapod
        self.url = f"http://127.0.0.1:{mediapod.http.port}"
        self.admin_url = f"http://127.0.0.1:{mediapod.admin.port}"
        self.clients: list[Client] = []

    def client(
        self,
        codec: str = "H264",
        width: int = 320,
        height: int = 240,
        frames_per_second: float = 20,
        audio: bool = False,
        configuration: RTCConfiguration | None = None,
    ) -> Client:
        """A client that is closed with the server."""
        client = Client(self.url, codec, width, height, frames_per_second, audio, configuration)
        self.clients.append(client)
        return client

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value now."""
        return self.mediapod.metrics.registry.get_sample_value(name, labels) or 0.0

    def results(self) -> dict[str, float]:
        """Frames by result."""
        names = ("ok", "superseded", "late", "bypassed", "shed", "error")
        return {name: self.metric("mediapod_frames_total", result=name) for name in names}

    def unaccounted(self) -> float:
        """Frames received that have no result."""
        return self.metric("mediapod_frames_received_total") - sum(self.results().values())

    async def settle(self, timeout: float = PATIENCE_SECONDS) -> None:
        """Wait until no session is left, and check the balance of frames."""
        await _eventually(lambda: not self.mediapod.registry.sessions, timeout, lambda: "sessions remain")
        assert self.unaccounted() == 0, (self.metric("mediapod_frames_received_total"), self.results())


StartServer = Callable[..., Awaitable[Server]]


@asynccontextmanager
async def running(engine: Engine | None, environment: dict[str, object]) -> AsyncIterator[Server]:
    """A mediapod on free ports."""
    base = {
        "MEDIAPOD_BIND_ADDRESS": "127.0.0.1",
        "MEDIAPOD_HTTP_PORT": 0,
        "MEDIAPOD_ADMIN_PORT": 0,
        "MEDIAPOD_DEVICE": "CPU",
        # Whoever else uses the machine must not decide on a test: neither who is let in nor which frames are late.
        "MEDIAPOD_ADMISSION_LOOP_LAG_MILLISECONDS": 0,
        "MEDIAPOD_FRAME_DEADLINE_MILLISECONDS": 5000,
    }
    mediapod = Mediapod(Settings(**{**base, **environment}), engine)
    server = Server(mediapod)
    try:
        await mediapod.start()
        yield server
    finally:
        for client in server.clients:
            await client.close()
        await mediapod.stop()


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients do not say how much they can take: they guess it from when packets come, which on a busy machine is
    late.
    """
    monkeypatch.setattr("aiortc.rtcrtpreceiver.RemoteBitrateEstimator.add", lambda *_, **__: None)


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartServer]:
    """Start a mediapod: `await serve(engine=None, MAX_SESSIONS_PER_POD=2, ...)`."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    async with AsyncExitStack() as servers:

        async def start(engine: Engine | None = None, **environment: object) -> Server:
            return await servers.enter_async_context(running(engine, environment))

        yield start


@pytest.fixture
async def connect_to(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[str], Awaitable[Client]]]:
    """`await connect_to(url)` connects a client to a mediapod that runs elsewhere."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    clients: list[Client] = []

    async def connect(url: str) -> Client:
        client = Client(url, "H264", 320, 240, 20, audio=False)
        clients.append(client)
        await client.connect()
        return client

    yield connect
    for client in clients:
        await client.close()
