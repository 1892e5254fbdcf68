"""Where kopf lists MediaPipelines it is told our own list's version and no resource; other requests pass."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from kubernetes import client

from mediapipeline_operator.runtime.kopf_session import session
from mediapipeline_operator.shell.cluster.credentials import Credentials

_API = "/apis/media.rtcscale.dev/v1alpha1"


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        seen = {"path": request.path, "authorization": request.headers.get("Authorization", "")}
        return web.json_response({"items": [{"metadata": {"name": "huge"}}], **seen})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def _credentials(server: str) -> Credentials:
    configuration = client.Configuration(host=server)
    configuration.api_key["BearerToken"] = "Bearer token"
    return Credentials(server, None, None, None, insecure=False, configuration=configuration)


@pytest.mark.parametrize(
    ("path", "scope"),
    [(f"{_API}/mediapipelines", None), (f"{_API}/namespaces/media/mediapipelines", "media")],
)
async def test_a_list_is_empty_and_has_the_version_of_ours(server: str, path: str, scope: str | None) -> None:
    asked: list[str | None] = []

    async def listed(namespace: str | None) -> str:
        asked.append(namespace)
        return "42"

    async with session(_credentials(server), listed) as http, http.get(server + path) as answer:
        assert await answer.json() == {"metadata": {"resourceVersion": "42"}, "items": []}
    assert asked == [scope]


async def test_other_answers_pass_with_our_identity(server: str) -> None:
    async def listed(namespace: str | None) -> str:
        raise AssertionError(namespace)

    async with session(_credentials(server), listed) as http, http.get(f"{server}{_API}") as answer:
        body = await answer.json()
    assert (body["path"], body["authorization"], len(body["items"])) == (_API, "Bearer token", 1)
