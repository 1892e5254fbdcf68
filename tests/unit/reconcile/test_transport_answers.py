"""What is no answer of an API server is no answer: neither an empty object nor the end of a watch."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes import client

from mediapipeline_operator.shell.cluster.credentials import Credentials
from mediapipeline_operator.shell.cluster.errors import UnauthorizedError, UnreachableError
from mediapipeline_operator.shell.cluster.transport import Transport

SECOND = 1e6  # so long that no busy machine takes it; it passes when the test says so


class _Tokens(Credentials):
    """Counts how often it was told that the server refuses the token."""

    told = 0

    def refused(self) -> None:
        type(self).told += 1


@pytest.fixture
async def answers() -> AsyncIterator[dict[str, web.Response]]:
    """Path -> what is answered; `url` of the server under "url"."""
    found: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.Response:
        status, body = found[request.path]
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def _transport(url: str) -> Transport:
    credentials = _Tokens(url, None, None, None, False, client.Configuration())
    return Transport(credentials, request_timeout_seconds=60.0, user_agent="tests")


@pytest.mark.parametrize("body", [b"<html>Please log in.</html>", b'["a"]', b"{}", b'{"kind": "Pod', b"\xff\xfe"])
async def test_status_200_without_an_object_is_trouble(answers: dict[str, Any], body: bytes) -> None:
    answers["/it"] = (200, body)
    async with _transport(answers["url"]) as transport:
        with pytest.raises(UnreachableError):
            await transport.request("GET", "/it")


@pytest.mark.parametrize("body", [b"<html>", b'"text"\n', b'{"type": "ADDED"}\n', b'{"object": {}}\n'])
async def test_a_watch_of_something_else_is_trouble(answers: dict[str, Any], body: bytes) -> None:
    answers["/it"] = (200, body)
    async with _transport(answers["url"]) as transport:
        with pytest.raises(UnreachableError):
            [event async for event in transport.lines("/it", {}, silence_seconds=60.0)]


async def test_a_refused_token_is_told_once_a_second(answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediapipeline_operator.shell.cluster.transport._REREAD_SECONDS", SECOND)
    answers["/it"] = (401, b"{}")
    before = _Tokens.told
    async with _transport(answers["url"]) as transport:
        for told in (1, 1, 1, 2, 2):
            if told > _Tokens.told - before:
                transport._reread_at = -SECOND  # a second has passed
            with pytest.raises(UnauthorizedError):
                await transport.request("GET", "/it")
            assert _Tokens.told == before + told
