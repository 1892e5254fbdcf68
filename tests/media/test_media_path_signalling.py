"""Signalling refuses what it cannot answer with a problem that names the cause, and gets along with other peers."""

import asyncio
import socket

import httpx
import pytest

from mediapod import service

pytestmark = pytest.mark.media


async def post(server, content=None, **options) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.post(f"{server.url}/webrtc/offer", content=content, timeout=60, **options)


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"", 400, "body"),
        (b"not json", 400, "body"),
        (b"{}", 400, "sdp"),
        (b'{"sdp": 3}', 400, "sdp"),
        (b'{"sdp": "v=0", "type": "answer"}', 400, "type"),
        (b'{"sdp": "hello"}', 400, "sdp"),
        (b'{"sdp": "v=0\\r\\n"}', 400, "sdp"),
        (b'{"sdp": "' + b"x" * 70_000 + b'"}', 413, "body"),
    ],
)
async def test_a_bad_body_is_refused_and_named(serve, content, status, field):
    server = await serve()
    response = await post(server, content)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["field"]) == (status, field)
    assert problem["detail"]
    assert server.metric("mediapod_offers_total", result="invalid") == 1
    assert not server.mediapod.registry.sessions


@pytest.mark.parametrize(
    ("find", "replace", "cause"),
    [
        ("a=sendrecv", "a=recvonly", "sendrecv"),
        ("m=video", "m=application", "video media line"),
        ("a=fingerprint", "a=nothing", "fingerprint"),
        ("a=rtcp-mux", "a=nothing", "rtcp-mux"),
        ("a=ice-ufrag", "a=nothing", "ICE credentials"),
        ("H264", "AV1", "H264 or VP8"),
        ("profile-level-id=42", "profile-level-id=zz", "negotiated"),
        ("a=mid:0", "a=mid:", "mid"),
        ("UDP/TLS/RTP/SAVPF", "garbage", ""),
        ("a=rtpmap:", "a=rtpmap:x", ""),
    ],
)
async def test_a_hostile_session_description_is_a_4xx_with_its_cause(serve, find, replace, cause):
    server = await serve()
    body = await server.client("H264").offer()
    response = await post(server, json={**body, "sdp": body["sdp"].replace(find, replace)})
    assert 400 <= response.status_code < 500, response.text
    assert cause in response.json()["detail"]
    assert server.metric("mediapod_offers_total", result="failed") == 0
    await server.settle()


async def test_candidates_by_name_are_ignored_and_the_session_still_connects(serve):
    server = await serve()
    client = server.client()
    body = await client.offer()
    body["sdp"] = body["sdp"].replace(" 127.0.0.1 ", " 4f2b1a9e.local ")
    await client.follow(await client.send(body))
    await client.wait_for(5)


async def test_a_token_is_needed_when_one_is_set(serve):
    server = await serve(MEDIAPOD_TOKEN="open-sesame")
    body = await server.client().offer()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic open-sesame"}):
        refused = await post(server, json=body, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    accepted = await post(server, json=body, headers={"Authorization": "Bearer open-sesame"})
    assert accepted.status_code == 200


async def test_browsers_of_allowed_origins_alone_may_call(serve):
    server = await serve(MEDIAPOD_ALLOWED_ORIGINS=["https://studio.example"])
    async with httpx.AsyncClient() as http:
        for origin, allowed in (("https://studio.example", True), ("https://evil.example", False)):
            ask = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            answer = await http.options(f"{server.url}/webrtc/offer", headers=ask)
            assert (answer.headers.get("access-control-allow-origin") == origin) is allowed


async def test_too_many_offers_at_once_are_told_to_wait(serve, monkeypatch):
    monkeypatch.setattr(service, "OFFERS_PER_SECOND", 0.001)  # none more while this machine takes its time
    server = await serve()
    async with httpx.AsyncClient() as http:
        url = f"{server.url}/webrtc/offer"
        answers = await asyncio.gather(*(http.post(url, content=b"{}", timeout=120) for _ in range(150)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 150 - service.OFFERS_AT_ONCE
    assert all("retry-after" in answer.headers for answer in refused)


async def test_media_stay_in_the_configured_port_range_and_say_advertised_addresses(serve):
    server = await serve(MEDIAPOD_MEDIA_PORT_RANGE="42100-42199", MEDIAPOD_ADVERTISED_ADDRESSES=["192.0.2.7"])
    answer = (await server.client().post()).json()["sdp"]
    candidates = [line.split() for line in answer.splitlines() if line.startswith("a=candidate:")]
    assert {candidate[4] for candidate in candidates} == {"127.0.0.1", "192.0.2.7"}
    assert all(42100 <= int(candidate[5]) <= 42199 for candidate in candidates)


async def test_no_free_media_port_is_a_503_and_leaves_no_session(serve, eventually):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = await serve(MEDIAPOD_MEDIA_PORT_RANGE=f"{port}-{port}")
    first, second = server.client(), server.client()
    assert (await first.post()).status_code == 200
    refused = await second.post()
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    await eventually(lambda: len(server.mediapod.registry.sessions) == 1, 60)


async def test_probes_and_capabilities(serve):
    server = await serve()
    async with httpx.AsyncClient() as http:
        for base in (server.url, server.admin_url):
            for path in ("/healthz", "/readyz", "/startupz"):
                answer = await http.get(base + path)
                assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        health = (await http.get(f"{server.url}/healthz")).json()
        assert (health["device"], health["simulated"], health["cuda"]) == ("cpu", False, False)
        names = {effect["name"] for effect in (await http.get(f"{server.url}/effects")).json()["effects"]}
        assert {"Passthrough", "GaussianBlur"} <= names
        assert (await http.post(f"{server.url}/drain")).status_code == 404
        missing = await http.get(f"{server.url}/nowhere")
        assert missing.json()["status"] == 404
        assert (await http.get(f"{server.url}/webrtc/status")).json()["videoCodecs"] == ["H264", "VP8"]
