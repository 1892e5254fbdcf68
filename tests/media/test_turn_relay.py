"""Media mode Relay against a real coturn: the pod's only address is one that the TURN server lends."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from coturn import PASSWORD, SHARED_SECRET, USERNAME, Coturn, running_coturn
from devcluster.controlplane.pki import create_mutual_tls

pytestmark = pytest.mark.media

SHARED = {"MEDIAPOD_TURN_SECRET": SHARED_SECRET}
ONE_USER = {"MEDIAPOD_TURN_USERNAME": USERNAME, "MEDIAPOD_TURN_PASSWORD": PASSWORD}
STAGES = [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 3}}]


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    """Knows the shared secret."""
    with running_coturn(tmp_path_factory.mktemp("coturn")) as server:
        yield server


def relay(*uris: str, **more: object) -> dict[str, object]:
    return {"MEDIAPOD_RELAY": True, "MEDIAPOD_TURN_URIS": list(uris), "MEDIAPOD_STAGES": STAGES, **SHARED, **more}


def candidate_types(sdp: str) -> set[str]:
    return set(re.findall(r"^a=candidate:.* typ (\w+)", sdp, re.MULTILINE))


def nominated(connection) -> tuple[str, str]:
    """Types of the local and the remote candidate that media go over."""
    ice = connection.getTransceivers()[0].sender.transport.transport._connection
    pair = ice._nominated[1]
    return pair.local_candidate.type, pair.remote_candidate.type


async def get(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.get(url, headers=headers, timeout=60)


async def until_ready(server, eventually) -> None:
    await eventually(lambda: not server.mediapod.not_ready(), 60, lambda: str(server.mediapod.not_ready()))
    assert (await get(f"{server.admin_url}/readyz")).status_code == 200


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_session_whose_only_candidates_are_relayed_carries_frames(serve, coturn, eventually, transport):
    server = await serve(**relay(f"turn:127.0.0.1:{coturn.port}?transport={transport}"))
    await until_ready(server, eventually)
    client = server.client()
    answer = await client.post()
    assert candidate_types(answer.json()["sdp"]) == {"relay"}
    assert "127.0.0.1" not in re.findall(r"raddr (\S+)", answer.json()["sdp"]), "the pod's own address is not told"
    await client.follow(answer)
    await client.wait_for(15)
    assert nominated(client.connection) == ("host", "relay")
    assert server.results()["ok"] >= 10
    await client.close()
    await server.settle()


async def test_through_tls_with_a_certificate_of_a_known_authority_only(serve, eventually, tmp_path, monkeypatch):
    create_mutual_tls(tmp_path, "coturn", "127.0.0.1")
    with running_coturn(tmp_path) as coturn:
        server = await serve(**relay(f"turns:127.0.0.1:{coturn.tls_port}?transport=tcp"))
        refused = await server.client().post()
        assert refused.status_code == 503
        assert "certificate verify failed" in refused.json()["detail"]
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        await until_ready(server, eventually)
        client = server.client()
        answer = await client.post()
        assert candidate_types(answer.json()["sdp"]) == {"relay"}
        await client.follow(answer)
        await client.wait_for(15)
        await client.close()


async def test_pod_and_client_both_behind_the_server_with_the_credentials_that_the_pod_gives(serve, coturn, eventually):
    server = await serve(**relay(coturn.uri))
    told = (await get(f"{server.url}/webrtc/ice-servers")).json()["iceServers"]
    assert [one["urls"] for one in told] == [[coturn.uri]]
    expiry, _, name = told[0]["username"].partition(":")
    assert time.time() < int(expiry) <= time.time() + 3600
    assert name
    ice = RTCIceServer(told[0]["urls"], told[0]["username"], told[0]["credential"])
    configuration = RTCConfiguration([ice], iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    client = server.client(configuration=configuration)
    await client.connect()
    await client.wait_for(20)
    assert nominated(client.connection) == ("relay", "relay")


async def test_one_users_name_and_password(serve, tmp_path):
    with running_coturn(tmp_path, shared=False) as coturn:
        environment = {**relay(coturn.uri), "MEDIAPOD_TURN_SECRET": None, **ONE_USER}
        client = (await serve(**environment)).client()
        await client.connect()
        await client.wait_for(10)
        assert nominated(client.connection) == ("host", "relay")


@pytest.mark.parametrize(
    ("credentials", "named"),
    [
        ({"MEDIAPOD_TURN_SECRET": "south"}, "MEDIAPOD_TURN_SECRET (key secret of the Secret turnSecretName)"),
        (
            {"MEDIAPOD_TURN_SECRET": None, **ONE_USER},
            "MEDIAPOD_TURN_USERNAME and MEDIAPOD_TURN_PASSWORD (keys username and password",
        ),
    ],
    ids=["secret", "user"],
)
async def test_wrong_credentials_are_named_and_keep_the_pod_from_being_ready(
    serve, coturn, eventually, credentials, named
):
    server = await serve(**relay(coturn.uri, **credentials))
    answer = await server.client().post()
    assert answer.status_code == 503
    assert "401 Unauthorized" in answer.json()["detail"]
    assert named in answer.json()["detail"]
    assert server.metric("mediapod_offers_total", result="failed") == 1
    pod = server.mediapod
    await eventually(lambda: any(named in reason for reason in pod.not_ready()), 60, lambda: str(pod.not_ready()))
    assert (await get(f"{server.admin_url}/readyz")).status_code == 503
    await server.settle()


async def test_when_the_server_dies_media_end_and_offers_say_why(serve, eventually, tmp_path):
    with running_coturn(tmp_path) as coturn:
        server = await serve(**relay(coturn.uri))
        await until_ready(server, eventually)
        client = server.client()
        await client.connect()
        await client.wait_for(10)
        coturn.stop()
        returned, sent = len(client.returned), len(client.sent)
        await eventually(lambda: not server.mediapod.registry.sessions, 90, lambda: "the session goes on")
        # What was on its way is nothing beside what was sent in the seconds since.
        came_back, went = len(client.returned) - returned, len(client.sent) - sent
        assert came_back <= max(4, went / 10), f"{came_back} of {went} frames came back without the server"
        assert server.metric("mediapod_sessions_ended_total", reason="PeerLost") == 1
        answer = await server.client().post()
        assert answer.status_code == 503
        assert f"TURN server {coturn.uri} does not answer within 2 s" in answer.json()["detail"]
        assert not server.mediapod.not_ready(), "a pod that has been reached before stays in its Service"


async def test_another_server_steps_in_for_a_dead_one_and_is_asked_first_from_then_on(serve, coturn):
    dead = "turn:127.0.0.1:9?transport=tcp"
    server = await serve(**relay(dead, coturn.uri))
    for _ in range(2):
        client = server.client()
        await client.connect()
        await client.wait_for(5)
    assert server.mediapod._relay._servers[0].uri == coturn.uri


@asynccontextmanager
async def two_workers(uri: str, secret: str):
    """URLs of a pod of a front and two media workers."""
    environment = {
        "PATH": os.environ["PATH"],
        "MEDIAPOD_BIND_ADDRESS": "127.0.0.1",
        **dict.fromkeys(("MEDIAPOD_HTTP_PORT", "MEDIAPOD_ADMIN_PORT"), "0"),
        "MEDIAPOD_DEVICE": "CPU",
        "MEDIAPOD_WORKERS": "2",
        "MEDIAPOD_RELAY": "true",
        "MEDIAPOD_TURN_URIS": json.dumps([uri]),
        "MEDIAPOD_TURN_SECRET": secret,
    }
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(sys.executable, "-m", "mediapod", env=environment, stdout=pipe)
    try:
        yield await asyncio.wait_for(_urls(running), 180)
    finally:
        running.kill()
        await running.communicate()


async def _urls(running: asyncio.subprocess.Process) -> tuple[str, str]:
    while line := await running.stdout.readline():
        entry = json.loads(line)
        if entry["event"] == "mediapod ready":
            return f"http://127.0.0.1:{entry['http_port']}", f"http://127.0.0.1:{entry['admin_port']}"
    raise AssertionError("the process ended before it was ready")


async def reasons(admin_url: str) -> list[str]:
    """Why the pod is not ready, as soon as a worker has asked the TURN server."""
    for _ in range(600):
        found = (await get(f"{admin_url}/readyz")).json()["reasons"]
        if not any("has lent an address yet" in one for one in found):
            return found
        await asyncio.sleep(0.1)
    return found


async def test_each_media_worker_of_a_pod_asks_the_server(coturn, connect_to):
    async with two_workers(coturn.uri, SHARED_SECRET) as (url, admin_url):
        assert await reasons(admin_url) == []
        client = await connect_to(url)
        await client.wait_for(5)
        assert nominated(client.connection) == ("host", "relay")
        assert (await get(f"{url}/webrtc/ice-servers")).json()["iceServers"][0]["urls"] == [coturn.uri]


async def test_a_pod_of_several_processes_says_once_that_the_secret_is_wrong(coturn):
    async with two_workers(coturn.uri, "south") as (_, admin_url):
        (reason,) = await reasons(admin_url)
        assert "MEDIAPOD_TURN_SECRET" in reason


async def test_clients_of_a_pod_with_an_address_of_its_own_are_told_of_the_server_too(serve, coturn):
    server = await serve(MEDIAPOD_TURN_URIS=[coturn.uri], MEDIAPOD_TOKEN="open sesame", **SHARED)
    url = f"{server.url}/webrtc/ice-servers"
    assert (await get(url)).status_code == 401
    told = await get(url, Authorization="Bearer open sesame")
    assert told.headers["cache-control"] == "no-store"
    assert told.json()["iceServers"][0]["urls"] == [coturn.uri]
