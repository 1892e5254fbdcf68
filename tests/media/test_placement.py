"""Several pods of one pipeline: offers are packed while there is room, else spread; session URLs work at every pod."""

import asyncio
import socket
import time
from contextlib import closing
from types import SimpleNamespace

import httpx
import pytest

from mediapod.placement import board, forwarding
from mediapod.placement.forwarding import ROOM_HEADER
from mediapod.session import room, state

pytestmark = pytest.mark.media

SLOW = 1e9


@pytest.fixture
def measured(monkeypatch):
    """Sessions that never connect count as measured at once (they cost nothing), on however slow a machine."""
    monkeypatch.setattr(state, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(room, "LOOP_LAG_LIMIT_SECONDS", SLOW)
    monkeypatch.setattr(room, "BUSY_LIMIT", SLOW)


@pytest.fixture
def never_measured(monkeypatch):
    """Sessions that never connect do not count as measured, however long a test takes."""
    monkeypatch.setattr(state, "PATIENCE_SECONDS", SLOW)


@pytest.fixture
async def fleet(serve, tmp_path, monkeypatch):
    """`await fleet(3, MAX_SESSIONS_PER_POD=2)`: pods that know each other by a file. They have as much time to answer
    each other as a busy machine takes, and no session times out before its test has ended.
    """
    monkeypatch.setattr(board, "ASK_SECONDS", 60.0)
    monkeypatch.setattr(forwarding, "FORWARD_SECONDS", 60.0)

    async def start(count: int, **environment: object):
        path = tmp_path / "peers"
        servers = [await serve(MEDIAPOD_PEERS=str(path), WEBRTC_TIMEOUT=300, **environment) for _ in range(count)]
        path.write_text("\n".join(server.admin_url.removeprefix("http://") for server in servers))
        return servers

    return start


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


def taken(servers) -> list[int]:
    return [len(server.mediapod.registry.sessions) for server in servers]


def placed(server) -> float:
    return server.metric("mediapod_offers_total", result="placed")


async def test_a_full_pod_places_the_offer_and_media_flow_to_the_other_pod(fleet):
    first, second = await fleet(2, MAX_SESSIONS_PER_POD=1)
    for _ in range(2):
        client = first.client()
        await client.connect()
        await client.wait_for(5)
    assert taken([first, second]) == [1, 1]
    assert placed(first) == 1
    assert second.metric("mediapod_offers_total", result="accepted") == 1


async def test_offers_at_one_pod_spread_over_all(fleet, never_measured):
    servers = await fleet(3, MAX_SESSIONS_PER_POD=8)
    for _ in range(9):
        assert (await servers[0].client().post()).status_code == 200
    assert max(taken(servers)) - min(taken(servers)) <= 3, taken(servers)


async def test_only_when_all_are_full_there_is_a_503(fleet):
    servers = await fleet(2, MAX_SESSIONS_PER_POD=1)
    answers = [(await servers[0].client().post()).status_code for _ in range(3)]
    assert answers == [200, 200, 503]
    assert servers[0].metric("mediapod_offers_total", result="rejected_capacity") == 1


async def test_peers_that_have_filled_up_unnoticed_are_passed_over(fleet):
    servers = await fleet(5, MAX_SESSIONS_PER_POD=1)
    offers = [await server.client().offer() for server in (*servers[:4], servers[0])]  # takes longer than the rest
    for server, offer in zip(servers, offers[:4], strict=False):  # the first pod asks, then the others fill up
        assert (await server.client().send(offer)).status_code == 200
    assert (await servers[0].client().send(offers[4])).status_code == 200
    assert taken(servers) == [1, 1, 1, 1, 1]


async def test_a_draining_pod_is_given_nothing_and_places_what_it_gets(fleet, http):
    draining, other = await fleet(2)
    await http.post(f"{draining.admin_url}/drain")
    assert (await draining.client().post()).status_code == 200
    assert taken([draining, other]) == [0, 1]
    for _ in range(4):
        assert (await other.client().post()).status_code == 200
    assert taken([draining, other]) == [0, 5]


async def test_any_pod_ends_a_session_through_its_url(fleet, http, eventually):
    servers = await fleet(3, MAX_SESSIONS_PER_POD=1)
    await servers[0].client().post()
    location = (await servers[0].client().post()).headers["location"]
    owner = next(server for server in servers[1:] if server.mediapod.registry.sessions)
    other = next(server for server in servers[1:] if server is not owner)
    assert (await http.patch(other.url + location)).status_code == 415, "the owner answers"
    assert (await http.delete(other.url + location)).status_code == 200
    await eventually(lambda: not owner.mediapod.registry.sessions, 60)
    assert len(servers[0].mediapod.registry.sessions) == 1
    assert (await http.delete(other.url + location)).status_code == 404


async def test_an_owner_that_is_gone_is_404_or_503_and_nobody_else_is_asked(fleet, http, tmp_path):
    first, second = await fleet(2)
    location = (await second.client().post()).headers["location"]
    owner = next(server for server in (first, second) if server.mediapod.registry.sessions)
    other = first if owner is second else second
    await owner.mediapod.stop()
    assert (await http.delete(other.url + location)).status_code == 503
    (tmp_path / "peers").write_text(other.admin_url.removeprefix("http://"))
    stranger = "/session/0123456789-" + "0" * 32
    assert (await http.delete(other.url + stranger)).status_code == 404


async def test_what_was_handed_on_is_not_handed_on_again(fleet, http):
    first, second = await fleet(2, MAX_SESSIONS_PER_POD=1)
    await first.client().post()
    body = await first.client().offer()
    answer = await http.post(f"{first.admin_url}/placement/webrtc/offer", json=body)
    assert answer.status_code == 503
    assert taken([first, second]) == [1, 0]


async def test_a_silent_peer_costs_little_and_the_offer_is_served_here(serve, tmp_path):
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        path = tmp_path / "peers"
        path.write_text(f"127.0.0.1:{silent.getsockname()[1]}\nnot an address\n")
        server = await serve(MEDIAPOD_PEERS=str(path))
        async with asyncio.timeout(60):
            assert (await server.client().post()).status_code == 200
        assert len(server.mediapod.registry.sessions) == 1


async def test_the_hop_carries_the_token_and_needs_it(fleet, http):
    first, second = await fleet(2, MAX_SESSIONS_PER_POD=1, MEDIAPOD_TOKEN="open-sesame")
    allowed = {"Authorization": "Bearer open-sesame"}
    for _ in range(2):
        body = await first.client().offer()
        assert (await http.post(f"{first.url}/webrtc/offer", json=body, headers=allowed)).status_code == 200
    assert taken([first, second]) == [1, 1]
    body = await first.client().offer()
    assert (await http.post(f"{second.admin_url}/placement/webrtc/offer", json=body)).status_code == 401


async def test_peers_are_asked_at_most_once_a_second(fleet, monkeypatch):
    first, second = await fleet(2)
    before = second.metric("app_requests_total", endpoint="/slots")
    asked, now = 0, [100.0]
    monkeypatch.setattr(board, "time", SimpleNamespace(monotonic=lambda: now[0]))
    loads = first.mediapod.placement._board
    original = loads._ask

    async def counting(address):
        nonlocal asked
        asked += 1
        return await original(address)

    loads._ask = counting
    for seconds, times in ((0.0, 1), (0.9, 1), (0.2, 2)):
        now[0] += seconds
        await asyncio.gather(*(loads.loads() for _ in range(50)))
        assert asked == times
    assert before == 0


async def answered(servers, count: int) -> list[int]:
    """Offers at one pod after the other, each after what is known has become old."""
    statuses = []
    for index in range(count):
        for server in servers:
            server.mediapod.placement._board._asked = float("-inf")
        statuses.append((await servers[index % len(servers)].client().post()).status_code)
    return statuses


async def test_offers_at_all_pods_fill_one_after_the_other_while_there_is_room(fleet, measured):
    servers = await fleet(3, MAX_SESSIONS_PER_POD=4)
    assert await answered(servers, 4) == [200] * 4
    assert sorted(taken(servers)) == [0, 1, 3], "three of four are three quarters"
    assert await answered(servers, 5) == [200] * 5
    assert sorted(taken(servers)) == [3, 3, 3]
    assert await answered(servers, 4) == [200] * 3 + [503], "then they fill up evenly, and nobody is refused before"


async def test_packing_is_off_at_0_percent(fleet, measured):
    servers = await fleet(3, MAX_SESSIONS_PER_POD=8, MEDIAPOD_PLACEMENT_FILL_PERCENT=0)
    await answered(servers, 9)
    assert max(taken(servers)) - min(taken(servers)) <= 2, taken(servers)


async def test_a_hot_pod_is_not_packed_though_it_has_places(fleet, measured, monkeypatch):
    servers = await fleet(3, MAX_SESSIONS_PER_POD=100)
    await answered(servers, 3)
    hot = max(servers, key=lambda server: len(server.mediapod.registry.sessions))
    assert taken([hot]) == [3]
    monkeypatch.setattr(room, "BUSY_LIMIT", 0.8)
    for server in servers:
        busy = 0.7 if server is hot else 0.1
        monkeypatch.setattr(server.mediapod._occupancy, "busy_share", lambda busy=busy: busy)
    await answered(servers, 3)
    assert sorted(taken(servers)) == [0, 3, 3], "a fourth would make it 93 % busy; the others are packed"


async def test_a_burst_spreads_since_nobody_has_seen_its_load(fleet, never_measured):
    servers = await fleet(3, MAX_SESSIONS_PER_POD=8)
    offers = [await server.client().offer() for server in servers * 3]
    for index, offer in enumerate(offers):
        assert (await servers[index % 3].client().send(offer)).status_code == 200
    assert max(taken(servers)) <= 5, taken(servers)


async def test_a_pod_with_a_full_device_says_that_it_has_no_room(serve, http, eventually):
    server = await serve(MEDIAPOD_DEVICE="Simulated", MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS=60)

    async def slots():
        return (await http.get(f"{server.admin_url}/slots")).json()

    assert (await slots())["room"] is True
    for _ in range(2):
        client = server.client()
        await client.connect()
        await client.wait_for(2)
    found = await slots()
    for _ in range(600):
        if found["busy"] >= 0.5 and not found["room"]:  # the former comes a little sooner
            break
        await asyncio.sleep(0.1)
        found = await slots()
    assert found["busy"] >= 0.5
    assert found["taken"] == 2
    assert found["capacity"] == 100
    assert found["room"] is False


async def test_what_packs_is_served_only_where_there_still_is_room(fleet, http, measured):
    first, second = await fleet(2, MAX_SESSIONS_PER_POD=1)
    body = await first.client().offer()
    answer = await http.post(f"{second.admin_url}/placement/webrtc/offer", json=body, headers={ROOM_HEADER: "1"})
    assert answer.status_code == 412
    assert taken([first, second]) == [0, 0]
    assert second.metric("mediapod_offers_total", result="rejected_capacity") == 0, "nobody has been refused"
    answer = await http.post(f"{second.url}/webrtc/offer", json=body, headers={ROOM_HEADER: "1"})
    assert answer.status_code == 200, "a user's header means nothing"


async def test_nobody_is_refused_by_what_was_known_a_moment_ago(fleet, http, eventually):
    servers = await fleet(2, MAX_SESSIONS_PER_POD=1)
    answers = [await servers[0].client().post() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    own = f"/session/{servers[0].mediapod.placement.owner}"
    locations = [answer.headers["location"] for answer in answers[:2]]
    elsewhere = next(location for location in locations if not location.startswith(own))
    await http.delete(servers[0].url + elsewhere)
    await eventually(lambda: sum(taken(servers)) == 1, 60)
    servers[0].mediapod.placement._board._asked = time.monotonic() - 0.3  # since when it believes that all are full
    assert (await servers[0].client().post()).status_code == 200
