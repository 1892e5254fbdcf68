"""Several pods as the operator makes them: offers go to whoever has room, session URLs work at every pod."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

Json = dict[str, Any]
PODS = 3
TRIES = 5
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: pods speak plain HTTP, loading CAs takes long
pytestmark = pytest.mark.usefixtures("operator")


class Fleet:
    """The pods, one session each; `service` is the URL of the Service, which picks one at random."""

    def __init__(self, addresses: list[str], service: str) -> None:
        self.addresses = addresses
        self.service = service

    async def offer(self, url: str) -> httpx.Response:
        """An offer over a connection of its own."""
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.addTransceiver("video")
        await connection.setLocalDescription(await connection.createOffer())
        body = {"sdp": connection.localDescription.sdp, "type": "offer"}
        await connection.close()
        return await self.request("POST", f"{url}/webrtc/offer", json=body)

    async def served(self, url: str) -> httpx.Response:
        """The answer to an offer for which there is room. A free pod that was too slow to answer is not found: whoever
        comes again, as told, is served.
        """
        return await patiently(lambda: self.offer(url))

    async def request(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        async with httpx.AsyncClient(timeout=20, trust_env=False, verify=PLAIN) as http:
            return await http.request(method, url, **arguments)

    async def sessions(self) -> dict[str, int]:
        """Sessions by pod."""
        found = {}
        for address in self.addresses:
            answer = (await self.request("GET", f"http://{address}:9090/sessions")).json()
            found[address] = answer["active"] + answer["pending"]
        return found


async def patiently(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Asks again as long as that is what the answer says."""
    answer = await ask()
    for _ in range(TRIES):
        if answer.status_code != 503:
            break
        await asyncio.sleep(int(answer.headers["retry-after"]))
        answer = await ask()
    return answer


@pytest.fixture
def fleet(world: Any, node_agent: Any, eventually: Callable[..., Any]) -> Callable[..., Fleet]:
    """`fleet(**spec)`: a pipeline of three ready pods that take one session each."""

    def ready() -> list[Json]:
        pods = [pod for pod in world.items("Pod") if _is_ready(pod)]
        return pods if len(pods) == PODS else []

    def start(**spec: Any) -> Fleet:
        sessions = {"maxPerReplica": 1, "connectTimeoutSeconds": 120}
        scheduling = {"tolerations": [node_agent.toleration]}
        world.pipeline(autoscaling={"engine": "None"}, replicas=PODS, sessions=sessions, scheduling=scheduling, **spec)
        pods = eventually(ready, "three ready pods")
        service = world.get("Service", "studio")["spec"]
        url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"
        eventually(lambda: _is_served(url), "the proxy to know the pods")
        return Fleet([pod["status"]["podIP"] for pod in pods], url)

    return start


def _is_served(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=20, trust_env=False, verify=PLAIN).status_code < 500
    except httpx.TransportError:
        return False


def _is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())


async def test_offers_go_to_whoever_has_room_and_session_urls_work_at_every_pod(
    fleet: Callable[..., Fleet],
) -> None:
    studio = fleet()
    first = f"http://{studio.addresses[0]}:8080"
    answers = [await studio.served(url) for url in (first, first, studio.service)]
    assert [answer.status_code for answer in answers] == [200] * PODS, [answer.text for answer in answers]
    assert set((await studio.sessions()).values()) == {1}
    assert (await studio.offer(studio.service)).status_code == 503, "now all are full"

    location = answers[1].headers["location"]
    for address in studio.addresses:
        url = f"http://{address}:8080{location}"
        answer = await patiently(lambda url=url: studio.request("PATCH", url))
        assert answer.status_code == 415, "its owner answers, wherever it is asked"
    deleted = await patiently(lambda: studio.request("DELETE", first + location))
    assert deleted.status_code == 200, "the first pod is not its owner"
    for _ in range(300):  # a session keeps its place until its sockets and threads are released
        if sum((await studio.sessions()).values()) < PODS:
            break
        await asyncio.sleep(0.1)
    assert (await studio.served(studio.service)).status_code == 200, "the free pod is found again"


async def test_pods_that_cannot_find_each_other_refuse_and_know_their_own_sessions_only(
    fleet: Callable[..., Fleet],
) -> None:
    studio = fleet(image="example.org/mediapod-alone:1.0")
    first, other = (f"http://{address}:8080" for address in studio.addresses[:2])
    answers = [await studio.offer(first) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 503]
    location = answers[0].headers["location"]
    assert (await studio.request("DELETE", other + location)).status_code == 404
    assert (await studio.request("DELETE", first + location)).status_code == 200
