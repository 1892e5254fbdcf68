"""Sessions are admitted, drained, timed out and cleaned up; nothing of them stays."""

import asyncio
import gc
import socket
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from mediapod.frames.i420 import I420Frame

pytestmark = pytest.mark.media


async def get(url: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.request(method, url, timeout=60)


def open_sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found += entry.readlink().name.startswith("socket:")
        except OSError:
            continue
    return found


def decode_threads() -> int:
    return sum(thread.name == "mediapod-decode" for thread in threading.enumerate())


def limit(server, **seconds: float) -> None:
    """Other limits for the sessions that there are. A short one from the start on would end sessions that a busy
    machine has not connected yet.
    """
    for session in server.mediapod.registry.sessions:
        session._state._limits = replace(session._state._limits, **seconds)


def ours() -> set[asyncio.Task[object]]:
    """All tasks but the consent checks of stock clients that were closed while they connected: aioice forgets those."""

    def is_of_a_client(task: asyncio.Task[object]) -> bool:
        frame = getattr(task.get_coro(), "cr_frame", None)
        owner = frame.f_locals.get("self") if frame is not None else None
        return "query_consent" in repr(task.get_coro()) and bool(getattr(owner, "ice_controlling", False))

    return {task for task in asyncio.all_tasks() if not is_of_a_client(task)}


async def test_a_full_pod_says_503_with_retry_after_and_stays_ready(serve, eventually):
    server = await serve(MAX_SESSIONS_PER_POD=1)
    first, second = server.client(), server.client()
    await first.connect()
    refused = await second.post()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["content-type"] == "application/problem+json"
    assert (await get(f"{server.admin_url}/readyz")).status_code == 200
    assert server.metric("mediapod_offers_total", result="rejected_capacity") == 1
    await first.close()
    await eventually(lambda: not server.mediapod.registry.sessions, 60)
    assert server.metric("mediapod_sessions_ended_total", reason="PeerClosed") == 1
    await server.client().connect()


async def test_a_draining_pod_refuses_offers_while_its_sessions_go_on(serve):
    server = await serve()
    client = server.client()
    await client.connect()
    await client.wait_for(5)
    for _ in range(2):  # idempotent
        answer = await get(f"{server.admin_url}/drain", "POST")
        assert answer.json() == {"draining": True, "sessions": 1}
    assert (await get(f"{server.admin_url}/readyz")).status_code == 503
    assert server.metric("mediapod_draining") == 1
    refused = await server.client().post()
    assert refused.status_code == 503
    assert "draining" in refused.json()["detail"]
    assert "retry-after" in refused.headers
    await client.wait_for(len(client.returned) + 10)
    for _ in range(2):
        answer = await get(f"{server.admin_url}/drain", "DELETE")
        assert answer.json() == {"draining": False, "sessions": 1}
    assert (await get(f"{server.admin_url}/readyz")).status_code == 200
    await server.client().connect()


async def test_sessions_are_listed_with_their_frames(serve):
    server = await serve(MAX_SESSIONS_PER_POD=7)
    client = server.client("VP8")
    await client.connect()
    await client.wait_for(5)
    listing = (await get(f"{server.admin_url}/sessions")).json()
    assert (listing["draining"], listing["active"], listing["pending"], listing["capacity"]) == (False, 1, 0, 7)
    (session,) = listing["sessions"]
    assert session["id"] == client.session_id
    assert session["state"] == "Active"
    assert session["framesReceived"] >= session["framesSent"] >= 4
    assert (await get(f"{server.url}/sessions")).status_code == 404


async def test_an_offer_that_is_never_followed_up_gives_its_place_back(serve, eventually):
    server = await serve(WEBRTC_TIMEOUT=300)
    response = await server.client().post()
    assert response.status_code == 200
    assert server.mediapod.registry.pending == 1
    limit(server, connect_seconds=0.5)
    await eventually(lambda: not server.mediapod.registry.sessions, 60)
    assert server.metric("mediapod_sessions_ended_total", reason="ConnectTimeout") == 1


async def test_a_client_that_vanishes_is_noticed(serve, eventually):
    server = await serve()
    client = server.client()
    await client.connect()
    await client.wait_for(5)
    client.vanish()
    limit(server, idle_seconds=1)
    await eventually(lambda: not server.mediapod.registry.sessions, 60)
    assert server.metric("mediapod_sessions_ended_total", reason="IdleTimeout") == 1
    await server.settle()


async def test_a_session_ends_at_its_maximum(serve, eventually):
    server = await serve(MEDIAPOD_MAX_SESSION_SECONDS=1)
    client = server.client()
    await client.connect()
    await eventually(lambda: not server.mediapod.registry.sessions, 60)
    assert server.metric("mediapod_sessions_ended_total", reason="MaximumDuration") == 1


async def test_churn_leaves_no_task_thread_or_socket_and_a_balanced_account(serve, eventually):
    server = await serve()
    await get(f"{server.url}/webrtc/status")
    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    for round_number in range(3):
        clients = [server.client("H264" if i % 2 else "VP8", 160, 120, 30) for i in range(3)]
        for client in clients:
            await client.connect()
        await clients[0].wait_for(3)
        clients[round_number % 3].vanish()
        for client in clients:
            await client.close()
        limit(server, connect_seconds=3, idle_seconds=1)
    await server.settle()
    assert server.metric("mediapod_frames_received_total") > 0
    gc.collect()
    await eventually(lambda: decode_threads() == 0, 60, lambda: f"{decode_threads()} decoder threads")
    await eventually(lambda: open_sockets() <= sockets, 60, lambda: f"{open_sockets()} sockets, {sockets} before")
    names = lambda: sorted(task.get_name() + repr(task.get_coro()) for task in ours())  # noqa: E731
    await eventually(lambda: len(ours()) <= tasks + 1, 60, lambda: "\n".join(names()))


async def test_datagrams_from_strangers_do_not_disturb_a_session(serve):
    server = await serve()
    client = server.client()
    await client.connect()
    await client.wait_for(5)
    ice = client.connection.getTransceivers()[0].sender.transport.transport._connection
    pair = next(iter(ice._nominated.values()))
    client_hello = bytes([22, 254, 253]) + bytes(60)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(200):
            stranger.sendto(client_hello, pair.remote_addr)
            stranger.sendto(b"\x80\x61" + bytes(30), pair.remote_addr)
            stranger.sendto(b"", pair.remote_addr)
    await client.wait_for(len(client.returned) + 10)
    assert server.metric("mediapod_sessions") == 1


async def test_an_ended_session_lets_go_of_its_pictures_without_waiting_for_the_garbage_collector(serve, eventually):
    server = await serve(MEDIAPOD_FORWARD_UNCHANGED=False)
    before = pictures_alive()
    gc.disable()
    try:
        client = server.client()
        await client.connect()
        await client.wait_for(10)
        await client.close()
        await server.settle()
        await eventually(lambda: pictures_alive() <= before, 10, lambda: f"{pictures_alive()}, {before} before")
    finally:
        gc.enable()


def pictures_alive() -> int:
    return sum(type(one) is I420Frame for one in gc.get_objects())
