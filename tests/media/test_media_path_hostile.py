"""Somebody misbehaves; the session beside does not notice: its p95 stays within 1.5 times, and nothing is left over."""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter

import av
import httpx
import pylibsrtp
import pytest

from machine import Others
from mediapod import service

pytestmark = pytest.mark.media

FRAMES = 30
FACTOR = 1.5
SLACK_SECONDS = 0.004  # what the clock and the scheduler of a busy machine add
TRIES = 8  # in windows that are the service's own fault
DISTURBED_TRIES = 40
QUIET_PROCESSORS = 0.3  # used by others: less does not explain a slow window


def ages_since(session, since: float) -> list[float]:
    """Seconds that the frames of a session took in the service, of those that ended after `since`, in order of size."""
    with session.ledger._lock:
        ended = list(session.ledger._recent._ended)
    return sorted(one.age_seconds for one in ended if one.at > since and one.sent)


async def p95_of(session, frames: int) -> float:
    """p95 of the next frames."""
    since, deadline = time.monotonic(), time.monotonic() + 60
    while len(ages := ages_since(session, since)) < frames:
        assert time.monotonic() < deadline, f"only {len(ages)} of {frames} frames came back"
        await asyncio.sleep(0.05)
    return ages[int(0.95 * len(ages))]


class Bystander:
    """A session that does nothing wrong, and how it was before."""

    def __init__(self, server, session) -> None:
        self.server, self._session = server, session

    async def calm(self) -> None:
        """Note how it is without trouble."""
        self._calm = await p95_of(self._session, FRAMES)

    async def is_unaffected(self) -> None:
        """Wait for a window within bounds, while the trouble goes on: neighbours of this machine must not decide."""
        bound, found, disturbed = FACTOR * self._calm + SLACK_SECONDS, [], 0
        while len(found) < TRIES and disturbed < DISTURBED_TRIES:
            others = Others()
            p95 = await p95_of(self._session, FRAMES)
            if p95 <= bound:
                return
            if (processors := others.processors()) > QUIET_PROCESSORS:
                disturbed += 1
                print(f"p95 {1000 * p95:.1f} ms while others used {processors:.1f} processors: looking again")
            else:
                found.append(p95)
        assert disturbed < DISTURBED_TRIES, f"others used the machine in {disturbed} windows"
        raise AssertionError(f"p95 {[f'{1000 * one:.1f}' for one in found]} ms, {1000 * self._calm:.1f} ms before")


@pytest.fixture
async def bystander(serve):
    """`await bystander(**environment)`: a server with one calm session."""

    async def start(**environment: object) -> Bystander:
        server = await serve(MEDIAPOD_FORWARD_UNCHANGED=False, MEDIAPOD_FRAME_DEADLINE_MILLISECONDS=5000, **environment)
        client = server.client("H264", 320, 240, 30)
        await client.connect()
        await client.wait_for(10)
        (session,) = server.mediapod.registry.sessions
        found = Bystander(server, session)
        await found.calm()
        return found

    return start


class During:
    """Something that goes on in the background for the time of a block."""

    def __init__(self, doing) -> None:
        self._doing = doing

    async def __aenter__(self) -> asyncio.Task:
        self._task = asyncio.get_running_loop().create_task(self._doing)
        return self._task

    async def __aexit__(self, *_: object) -> None:
        if self._task.done():
            self._task.result()  # what broke off by itself is a fault of the test
        self._task.cancel()
        await asyncio.wait([self._task])


# A process of its own: the flood is to load the service, not the bystander's client.
FLOOD = """
import http.client, json, sys, threading, urllib.parse
url, body, stop, statuses = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2], threading.Event(), set()
def flood():
    while not stop.wait(0.03):
        try:
            connection = http.client.HTTPConnection(url.netloc, timeout=20)
            connection.request("POST", "/webrtc/offer", body, {"Content-Type": "application/json"})
            statuses.add(connection.getresponse().status)
            connection.close()
        except OSError as error:
            statuses.add(repr(error))
threads = [threading.Thread(target=flood) for _ in range(4)]
for thread in threads: thread.start()
sys.stdin.read()
stop.set()
for thread in threads: thread.join()
print(json.dumps(sorted(map(str, statuses))))
"""


@pytest.mark.soak  # on a machine that others use, answering the refused offers alone takes the bystander's processor
async def test_a_flood_of_offers(bystander, eventually):
    one = await bystander(WEBRTC_TIMEOUT=2)
    body = json.dumps(await one.server.client().offer())
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-c", FLOOD, one.server.url, body)
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    await eventually(lambda: one.server.metric("mediapod_offers_total", result="rejected_capacity") > 5, 30)
    await one.is_unaffected()
    printed, _ = await asyncio.wait_for(process.communicate(b""), 30)
    assert {"429"} <= set(json.loads(printed)) <= {"200", "429", "503"}
    await eventually(lambda: len(one.server.mediapod.registry.sessions) == 1, 60)


async def test_offers_at_once_beyond_the_rate_are_turned_away_and_leave_nothing(bystander, eventually, monkeypatch):
    monkeypatch.setattr(service, "OFFERS_AT_ONCE", 10.0)
    monkeypatch.setattr(service, "OFFERS_PER_SECOND", 0.01)
    one = await bystander(WEBRTC_TIMEOUT=300, MAX_SESSIONS_PER_POD=3)  # no place gets free meanwhile
    body, came_back = await one.server.client().offer(), len(one.server.clients[0].returned)
    async with httpx.AsyncClient(timeout=120) as http:
        answers = await asyncio.gather(*(http.post(f"{one.server.url}/webrtc/offer", json=body) for _ in range(60)))
        for answer in answers:
            if answer.status_code == 200:
                assert (await http.delete(one.server.url + answer.headers["location"])).status_code == 200
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 429, 503}
    assert statuses[200] <= 2, "there are three places, and one is taken"
    assert statuses[429] >= 20
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code != 200)
    await one.server.clients[0].wait_for(came_back + 10)
    await eventually(lambda: len(one.server.mediapod.registry.sessions) == 1, 60)
    assert one.server.metric("mediapod_offers_total", result="rejected_capacity") == len(answers) - statuses[200]


async def test_garbage_from_a_third_port(bystander):
    one = await bystander()
    ice = one.server.clients[0].connection.getTransceivers()[0].sender.transport.transport._connection
    target = next(iter(ice._nominated.values())).remote_addr
    stun = struct.pack("!HHL12s", 1, 0, 0x2112A442, os.urandom(12))
    hello = bytes([22, 254, 253]) + bytes(60)

    async def spray() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            while True:
                for _ in range(20):
                    for data in (hello, stun, stun[:9], b"\x80\x61" + os.urandom(1200), os.urandom(40), b"\x01", b""):
                        stranger.sendto(data, target)
                await asyncio.sleep(0.02)

    async with During(spray()):
        await one.is_unaffected()
    assert one.server.metric("mediapod_sessions") == 1


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_stream_that_changes_its_size_with_every_frame(bystander, eventually, codec):
    one = await bystander()
    client = one.server.client(codec, 64, 64, 10)
    sizes = [(64 + 16 * (number % 5), 64 + 2 * (number % 7)) for number in range(35)]
    track = client.connection.getTransceivers()[0].sender.track
    track._pictures = [grey(width, height) for width, height in sizes]
    await client.connect()
    await client.wait_for(10)
    await one.is_unaffected()
    await eventually(lambda: len({(picture.width, picture.height) for picture in client.pictures}) > 3, 60)
    await client.close()
    await eventually(lambda: len(one.server.mediapod.registry.sessions) == 1, 60)
    await eventually(lambda: [t.name for t in threading.enumerate()].count("mediapod-decode") == 1, 60)


def grey(width: int, height: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([120]) * plane.buffer_size)
    return frame


async def test_damaged_packets_of_a_peer(bystander, eventually):
    one = await bystander()
    client = one.server.client("VP8", 160, 120, 15)
    await client.connect()
    await client.wait_for(5)
    transport, chance = client.connection.getTransceivers()[0].sender.transport, random.Random(4)  # noqa: S311  not for secrets
    send = transport._send_rtp

    async def send_damaged(data: bytes) -> None:
        if not 192 <= data[1] <= 223 and chance.random() < 0.7:
            data = damaged(data, chance)
        with contextlib.suppress(pylibsrtp.Error):  # what is not even a header cannot be encrypted
            await send(data)

    transport._send_rtp = send_damaged
    await one.is_unaffected()
    transport._send_rtp = send
    returned = len(client.pictures)
    await eventually(lambda: len(client.pictures) > returned + 5, 60, lambda: str(one.server.results()))
    await client.close()
    await eventually(lambda: len(one.server.mediapod.registry.sessions) == 1, 60)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A packet with a byte changed, cut off, of another source, or of nothing but noise."""
    kind, at = chance.randrange(4), chance.randrange(1, len(data))
    if kind == 0:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:8] + chance.randbytes(4) + data[12:]
    return data[:12] + chance.randbytes(chance.randrange(80))


def enormous_png() -> bytes:
    """A valid PNG of 20,000 x 20,000 black pixels in 60 KB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack("!L", len(data)) + name + data + struct.pack("!L", zlib.crc32(name + data))

    compressor = zlib.compressobj(9)
    rows = b"".join(compressor.compress(bytes(2501) * 1000) for _ in range(20)) + compressor.flush()
    header = struct.pack("!LLBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_pictures_of_20000_by_20000(bystander, eventually):
    one = await bystander()
    picture, refused = enormous_png(), []

    async def post() -> None:
        async with httpx.AsyncClient() as http:
            while True:
                headers = {"Content-Type": "image/png"}
                answer = await http.post(f"{one.server.url}/process", content=picture, headers=headers, timeout=60)
                refused.append((answer.status_code, answer.json()["field"], "20000x20000" in answer.text))
                await asyncio.sleep(0.02)

    async with During(post()):
        await eventually(lambda: refused, 60)
        await one.is_unaffected()
    assert set(refused) == {(413, "body", True)}
