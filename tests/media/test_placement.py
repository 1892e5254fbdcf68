"""Several pods of one pipeline: offers are placed on the emptier one, session URLs work at every pod."""

import asyncio
import socket
from contextlib import closing

import httpx
import pytest

pytestmark = pytest.mark.media


@pytest.fixture
async def fleet(serve, tmp_path):
    """`await fleet(3, MAX_SESSIONS_PER_POD=2)`: pods that know each other by a file."""

    async def start(count: int, **environment: object):
        path = tmp_path / "peers"
        servers = [await serve(MEDIAPOD_PEERS=str(path), **environment) for _ in range(count)]
        path.write_text("\n".join(server.admin_url.removeprefix("http://") for server in servers))
        return servers

    return start


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=30) as client:
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


async def test_offers_at_one_pod_spread_over_all(fleet):
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
    await eventually(lambda: not owner.mediapod.registry.sessions, 10)
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
        async with asyncio.timeout(10):
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


async def test_peers_are_asked_at_most_once_a_second(fleet):
    first, second = await fleet(2)
    before = second.metric("app_requests_total", endpoint="/slots")
    asked = 0
    board = first.mediapod.placement._board
    original = board._ask

    async def counting(address):
        nonlocal asked
        asked += 1
        return await original(address)

    board._ask = counting
    await asyncio.gather(*(board.loads() for _ in range(50)))
    assert asked <= 1
    assert before == 0
