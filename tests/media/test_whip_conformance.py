"""WHIP as RFC 9725 words it, case by case, and WHEP, its counterpart for viewers."""

import asyncio
import re

import httpx
import pytest
from aiortc import (
    AudioStreamTrack,
    MediaStreamError,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.sdp import SessionDescription

from mediapod.rtc.connection import SILENT_SECONDS

pytestmark = pytest.mark.media

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class HttpPeer:
    """A stock aiortc peer that signals by WHIP or WHEP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.http = httpx.AsyncClient(base_url=url, timeout=60)
        self.received = self.heard = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", self._consume)

    def publish(self, clip, codec: str = "H264", audio: bool = False) -> "HttpPeer":
        transceiver = self.connection.addTransceiver(clip, direction="sendonly")
        _only(transceiver, codec)
        if audio:
            self.connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
        return self

    def publish_audio(self) -> "HttpPeer":
        self.connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
        return self

    def play(self, audio: bool = False, video: bool = True) -> "HttpPeer":
        if video:
            self.connection.addTransceiver("video", direction="recvonly")
        if audio:
            self.connection.addTransceiver("audio", direction="recvonly")
        return self

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def post(self, path: str, sdp: str | None = None, **headers: str) -> httpx.Response:
        return await self.http.post(path, content=sdp or await self.offer(), headers={"Content-Type": SDP, **headers})

    async def connect(self, path: str = "/whip") -> httpx.Response:
        response = await self.post(path)
        assert response.status_code == 201, response.text
        await self.connection.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
        return response

    def _consume(self, track) -> None:
        async def consume() -> None:
            try:
                while True:
                    await track.recv()
                    self.received += track.kind == "video"
                    self.heard += track.kind == "audio"
            except MediaStreamError:
                return

        self._tasks.append(asyncio.get_running_loop().create_task(consume()))

    async def close(self) -> None:
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.http.aclose()


def _only(transceiver, codec: str) -> None:
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([c for c in codecs if c.name in (codec, "rtx")])


@pytest.fixture
async def peer():
    peers: list[HttpPeer] = []

    def make(url: str) -> HttpPeer:
        peers.append(HttpPeer(url))
        return peers[-1]

    yield make
    for each in peers:
        await each.close()


@pytest.fixture
def clip(serve):
    """A clip of moving bars (that of the media path's clients)."""
    from aiortc.mediastreams import VideoStreamTrack

    return VideoStreamTrack()


@pytest.fixture
async def server(serve):
    return await serve()


@pytest.fixture
async def opened(server, peer, clip):
    """A publisher that has its answer: (peer, response)."""
    publisher = peer(server.url).publish(clip)
    return publisher, await publisher.connect()


async def fragment(connection: RTCPeerConnection, **changes: str) -> str:
    """The candidates of an offer as a trickle fragment."""
    media = SessionDescription.parse(connection.localDescription.sdp).media[0]
    values = {"ufrag": media.ice.usernameFragment, "pwd": media.ice.password, **changes}
    lines = [f"a=ice-ufrag:{values['ufrag']}", f"a=ice-pwd:{values['pwd']}", "m=video 9 UDP/TLS/RTP/SAVPF 0"]
    lines += [f"a=mid:{media.rtp.muxId}", "a=candidate:1 1 udp 2130706431 127.0.0.1 40404 typ host"]
    lines += ["a=candidate:2 1 tcp 2130706431 127.0.0.1 9 typ host tcptype active", "a=end-of-candidates"]
    return "\r\n".join(lines) + "\r\n"


def link(response: httpx.Response, relation: str) -> str:
    found = re.search(rf'<([^>]+)>; rel="{relation}"', ", ".join(response.headers.get_list("link")))
    assert found, response.headers
    return found[1]


# --- the offer (section 4.2) ---


async def test_a_publisher_is_answered_201_with_sdp_location_and_etag(opened):
    _, response = opened
    assert response.headers["content-type"] == SDP
    assert re.fullmatch(r'"[^"]+"', response.headers["etag"]), "a strong entity tag"
    assert response.headers["location"].startswith("/session/")


async def test_the_answer_receives_only_and_bundles_everything(server, peer, clip):
    response = await peer(server.url).publish(clip, audio=True).connect()
    answer = SessionDescription.parse(response.text)
    assert [media.direction for media in answer.media] == ["recvonly", "recvonly"]
    assert sorted(answer.group[0].items) == sorted(media.rtp.muxId for media in answer.media)
    assert all(media.rtcp_mux for media in answer.media)
    assert "a=ice-options:trickle" in response.text


async def test_an_offer_to_send_and_receive_is_answered_receiving_only(server, peer, clip):
    publisher = peer(server.url)
    publisher.connection.addTransceiver(clip, direction="sendrecv")
    response = await publisher.post("/whip")
    assert response.status_code == 201
    assert SessionDescription.parse(response.text).media[0].direction == "recvonly"


async def test_session_urls_are_long_random_and_differ_from_the_public_id(server, peer, clip):
    first = await peer(server.url).publish(clip).connect()
    second = await peer(server.url).publish(clip).connect()
    secrets = [response.headers["location"].rpartition("-")[2] for response in (first, second)]
    assert secrets[0] != secrets[1]
    assert all(len(secret) >= 32 for secret in secrets)
    ids = {session.id for session in server.mediapod.registry.sessions}
    assert not ids & set(secrets), "who may watch a stream must not be able to end it"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
async def test_another_content_type_is_415(server, peer, clip, content_type):
    publisher = peer(server.url).publish(clip)
    response = await publisher.http.post(
        "/whip", content=await publisher.offer(), headers={"Content-Type": content_type}
    )
    assert (response.status_code, response.json()["field"]) == (415, "Content-Type")


async def test_a_client_that_does_not_accept_sdp_is_406(server, peer, clip):
    response = await peer(server.url).publish(clip).post("/whip", Accept="application/json")
    assert response.status_code == 406


@pytest.mark.parametrize("body", ["", "hello", "v=0\r\n" * 3 + "a=\xff", "m=video"])
async def test_a_malformed_offer_is_400(server, peer, body):
    response = await peer(server.url).http.post("/whip", content=body.encode("latin-1"), headers={"Content-Type": SDP})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_offer_larger_than_the_limit_is_413(server, peer):
    response = await peer(server.url).post("/whip", "v=0\r\n" + "a=x\r\n" * 20_000)
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("find", "replace"),
    [("a=sendonly", "a=recvonly"), ("H264", "AV1"), ("m=video", "m=application")],
    ids=["nothing is sent", "no codec of ours", "no video"],
)
async def test_an_offer_that_asks_for_what_is_not_offered_is_422_as_a_whole(server, peer, clip, find, replace):
    publisher = peer(server.url).publish(clip)
    response = await publisher.post("/whip", (await publisher.offer()).replace(find, replace))
    assert response.status_code == 422
    assert not server.mediapod.registry.sessions


async def test_more_than_one_media_stream_is_422(server, peer, clip):
    publisher = peer(server.url).publish(clip, audio=True)
    offer = await publisher.offer()
    split = iter(("one", "two"))
    offer = re.sub(r"a=msid:\S+", lambda _: f"a=msid:{next(split)}", offer, count=2)
    assert (await publisher.post("/whip", offer)).status_code == 422


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "PATCH"])
async def test_the_endpoint_takes_post_and_options_alone(server, peer, method):
    assert (await peer(server.url).http.request(method, "/whip")).status_code == 405


async def test_options_say_what_is_accepted(server, peer):
    response = await peer(server.url).http.options("/whip")
    assert (response.status_code, response.headers["accept-post"]) == (200, SDP)


async def test_browsers_may_read_the_headers_that_they_need(serve, peer, clip):
    server = await serve(MEDIAPOD_ALLOWED_ORIGINS=["https://studio.example"])
    ask = {"Origin": "https://studio.example", "Access-Control-Request-Method": "PATCH"}
    preflight = await peer(server.url).http.options(
        "/session/x", headers={**ask, "Access-Control-Request-Headers": "if-match"}
    )
    assert preflight.status_code == 200
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    response = await peer(server.url).publish(clip).post("/whip", Origin="https://studio.example")
    exposed = response.headers["access-control-expose-headers"].lower()
    assert all(name in exposed for name in ("location", "etag", "link"))


async def test_a_full_pod_is_503_with_retry_after(serve, peer, clip):
    server = await serve(MAX_SESSIONS_PER_POD=1)
    await peer(server.url).publish(clip).connect()
    response = await peer(server.url).publish(clip).post("/whip")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


async def test_every_request_needs_the_token_but_options(serve, peer, clip):
    server = await serve(MEDIAPOD_TOKEN="open-sesame")
    publisher = peer(server.url).publish(clip)
    assert (await publisher.http.options("/whip")).status_code == 200
    refused = await publisher.post("/whip")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    location = (await publisher.post("/whip", Authorization="Bearer open-sesame")).headers["location"]
    for method in ("PATCH", "DELETE"):
        assert (await publisher.http.request(method, location)).status_code == 401
    allowed = {"Authorization": "Bearer open-sesame"}
    assert (await publisher.http.delete(location, headers=allowed)).status_code == 200


async def test_turn_servers_come_in_link_headers_with_credentials(serve, peer, clip):
    server = await serve(MEDIAPOD_TURN_URIS=["turn:turn.example:3478?transport=udp"], MEDIAPOD_TURN_SECRET="north")
    response = await peer(server.url).publish(clip).post("/whip")
    links = [value for value in response.headers.get_list("link") if 'rel="ice-server"' in value]
    assert len(links) == 1
    assert re.search(
        r'<turn:turn\.example:3478\?transport=udp>; rel="ice-server"; username="\d+:\w+"; credential="[^"]+"; '
        r'credential-type="password"',
        links[0],
    )


# --- trickle and the end of the session (sections 4.1, 4.3) ---


async def patch(publisher, response, body, tag=None, content_type=FRAGMENT) -> httpx.Response:
    headers = {"Content-Type": content_type, **({"If-Match": tag} if tag else {})}
    return await publisher.http.patch(response.headers["location"], content=body, headers=headers)


async def test_trickled_candidates_are_204(opened):
    publisher, response = opened
    answer = await patch(publisher, response, await fragment(publisher.connection), response.headers["etag"])
    assert (answer.status_code, answer.content) == (204, b"")


async def test_an_offer_without_candidates_connects_by_trickled_ones(server, peer, clip, eventually):
    publisher = peer(server.url).publish(clip)
    offer = await publisher.offer()
    bare = re.sub(r"a=(candidate:|end-of-candidates).*\r\n", "", offer)
    response = await publisher.post("/whip", bare)
    candidates = [line for line in offer.splitlines() if line.startswith("a=candidate:")]
    body = (await fragment(publisher.connection)).replace("a=end-of-candidates", "\r\n".join(candidates))
    assert (await patch(publisher, response, body, response.headers["etag"])).status_code == 204
    await publisher.connection.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
    await eventually(lambda: server.mediapod.registry.active == 1, 60)


async def test_a_patch_without_tag_is_428(opened):
    publisher, response = opened
    assert (await patch(publisher, response, await fragment(publisher.connection))).status_code == 428


async def test_a_patch_with_another_tag_is_412(opened):
    publisher, response = opened
    assert (await patch(publisher, response, await fragment(publisher.connection), '"other"')).status_code == 412


async def test_a_patch_of_another_type_is_415_and_says_what_is_accepted(opened):
    publisher, response = opened
    answer = await patch(publisher, response, "{}", response.headers["etag"], "application/json")
    assert (answer.status_code, answer.headers["accept-patch"]) == (415, FRAGMENT)


@pytest.mark.parametrize("body", ["", "hello", "a=ice-ufrag:x\r\n", "\x00\xff"])
async def test_a_malformed_fragment_is_400(opened, body):
    publisher, response = opened
    assert (await patch(publisher, response, body.encode("latin-1"), response.headers["etag"])).status_code == 400


async def test_an_ice_restart_is_422_and_the_session_goes_on(server, opened, eventually):
    publisher, response = opened
    await eventually(lambda: server.mediapod.registry.active == 1, 60)
    restart = await fragment(publisher.connection, ufrag="abcd", pwd="a" * 24)
    for tag in ("*", response.headers["etag"]):
        assert (await patch(publisher, response, restart, tag)).status_code == 422
    received = server.mediapod.registry.sessions[0].ledger.received
    await eventually(lambda: server.mediapod.registry.sessions[0].ledger.received > received + 5, 60)


async def test_delete_ends_the_session_with_200_whatever_the_tag(server, opened, eventually):
    publisher, response = opened
    location = response.headers["location"]
    answer = await publisher.http.delete(location, headers={"If-Match": '"other"'})
    assert answer.status_code == 200
    assert (await publisher.http.delete(location)).status_code == 404
    await eventually(lambda: not server.mediapod.registry.sessions, 60)
    assert server.metric("mediapod_sessions_ended_total", reason="ClientEnded") == 1


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("token", ["nobody-0", "x", "-"])
async def test_an_unknown_session_url_is_404(server, peer, method, token):
    assert (await peer(server.url).http.request(method, f"/session/{token}")).status_code == 404


async def test_a_session_url_takes_patch_delete_and_options_alone(opened):
    publisher, response = opened
    for method in ("GET", "POST", "PUT"):
        assert (await publisher.http.request(method, response.headers["location"])).status_code == 405


# --- playing (WHEP) ---


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_viewers_get_the_processed_stream_encoded_once(serve, peer, clip, codec, eventually):
    stages = '[{"name": "grey", "effect": "Grayscale", "parameters": {}}]'
    server = await serve(MEDIAPOD_STAGES=__import__("json").loads(stages))
    published = await peer(server.url).publish(clip, codec, audio=True).connect()
    viewers = [peer(server.url).play(audio=True) for _ in range(2)]
    for viewer in viewers:
        response = await viewer.connect(link(published, "alternate"))
        assert {media.direction for media in SessionDescription.parse(response.text).media} == {"sendonly"}
    await eventually(
        lambda: all(viewer.received > 10 for viewer in viewers), 60, lambda: str([v.received for v in viewers])
    )
    assert server.mediapod.registry.active == 3
    await eventually(lambda: server.unaccounted() <= 3, 60)


async def test_viewers_end_with_their_publisher(server, opened, peer, eventually):
    publisher, response = opened
    await peer(server.url).play().connect(link(response, "alternate"))
    await eventually(lambda: server.mediapod.registry.active == 2, 60)
    await publisher.http.delete(response.headers["location"])
    await eventually(lambda: not server.mediapod.registry.sessions, 60)
    assert server.metric("mediapod_sessions_ended_total", reason="PublisherEnded") == 1
    await server.settle()


async def test_a_viewer_that_leaves_does_not_touch_the_publisher(server, opened, peer, eventually):
    _, response = opened
    viewer = peer(server.url).play()
    location = (await viewer.connect(link(response, "alternate"))).headers["location"]
    assert (await viewer.http.delete(location)).status_code == 200
    await eventually(lambda: len(server.mediapod.registry.sessions) == 1, 60)
    received = server.mediapod.registry.sessions[0].ledger.received
    await eventually(lambda: server.mediapod.registry.sessions[0].ledger.received > received + 5, 60)


async def test_an_unknown_stream_is_404(server, peer):
    assert (await peer(server.url).play().post("/whep/nobody-0")).status_code == 404
    assert (await peer(server.url).play().post(f"/whep/{server.mediapod.placement.owner}-0")).status_code == 404


async def test_a_viewer_that_wants_to_send_is_422(server, opened, peer, clip):
    _, response = opened
    assert (await peer(server.url).publish(clip).post(link(response, "alternate"))).status_code == 422


@pytest.mark.parametrize("video", [False, True], ids=["audio asked for", "video asked for too"])
async def test_a_publisher_of_audio_alone_is_heard(server, peer, video, eventually):
    published = await peer(server.url).publish_audio().connect()
    viewer = peer(server.url).play(audio=True, video=video)
    await viewer.connect(link(published, "alternate"))
    await eventually(lambda: viewer.heard > 20, 60, lambda: str(viewer.heard))


async def test_pictures_that_nothing_changes_are_encoded_for_viewers_and_whoever_only_looks_stays(
    server, opened, peer, eventually
):
    _, response = opened
    viewer = peer(server.url).play()
    await viewer.connect(link(response, "alternate"))
    await asyncio.sleep(10)  # longer than a peer of whom nothing is heard keeps its place
    seen = viewer.received
    await eventually(lambda: viewer.received > seen + 5, 60)
    await eventually(lambda: server.mediapod.registry.sessions[1].report().silentSeconds < SILENT_SECONDS, 60)
    publisher, looking = (session.report() for session in server.mediapod.registry.sessions)
    assert (publisher.forwarded, publisher.width) == (False, 640)
    assert (looking.videoCodec, looking.framesReceived) == ("H264", 0)
    assert looking.framesSent > 5
