"""A headless Chromium that tests drive over its DevTools protocol, and a mediapod for it."""

import asyncio
import base64
import itertools
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from devcluster.load.chromium import FLAGS, START_SECONDS, ChromiumError, find_chromium
from mediapod.service import Mediapod
from mediapod.settings import Settings

CALL_SECONDS = 150.0  # of a command, which may be a promise of minutes on a busy machine
PAGE_FLAGS = (
    *FLAGS,
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--window-size=1200,860",
    "--remote-debugging-port=0",
)


class Page:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def call(self, method: str, **parameters: object) -> dict:
        """A DevTools command."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(CALL_SECONDS):
            while True:
                answer = await self._socket.receive_json()
                if answer.get("id") == number:
                    assert "error" not in answer, answer
                    return answer["result"]

    async def evaluate(self, expression: str) -> object:
        """A JavaScript expression's value; promises are awaited."""
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str, seconds: float = 120) -> object:
        """Wait until the expression is true; returns its value."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not (value := await self.evaluate(expression)):
            if asyncio.get_running_loop().time() > deadline:
                text = await self.evaluate("document.body.innerText")
                raise AssertionError(f"not within {seconds} s: {expression}; the page says:\n{text}")
            await asyncio.sleep(0.2)
        return value

    async def picture(self, path: Path) -> None:
        """A PNG of the whole page."""
        taken = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))  # noqa: ASYNC240  a small file


@asynccontextmanager
async def chromium_at(url: str, folder: Path):
    """A browser with one page; skips where there is no browser."""
    try:
        binary = find_chromium()
    except ChromiumError as error:
        pytest.skip(str(error))
    process = await asyncio.create_subprocess_exec(
        *(binary, *PAGE_FLAGS, f"--user-data-dir={folder}", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(await _page_address(http, folder), max_msg_size=1 << 26) as socket,
        ):
            page = Page(socket)
            await page.call("Page.navigate", url=url)
            await page.until(f"location.href.startsWith('{url}') && document.readyState === 'complete'")
            yield page
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _page_address(http: aiohttp.ClientSession, folder: Path) -> str:
    port_file = folder / "DevToolsActivePort"
    for _ in range(10 * int(START_SECONDS)):
        await asyncio.sleep(0.1)
        if not port_file.exists() or not port_file.read_text().strip():
            continue
        async with http.get(f"http://127.0.0.1:{port_file.read_text().split()[0]}/json/list") as answer:
            pages = [target for target in await answer.json() if target["type"] == "page"]
        if pages:
            return str(pages[0]["webSocketDebuggerUrl"])
    raise AssertionError(f"the browser has not started within {START_SECONDS} s")


@pytest.fixture
async def pod():
    """`await pod(MAX_SESSIONS_PER_POD=1)`: a started mediapod; stopped with the test."""
    started: list[Mediapod] = []

    async def start(**environment: object) -> tuple[Mediapod, str]:
        base = {"MEDIAPOD_BIND_ADDRESS": "127.0.0.1", "MEDIAPOD_HTTP_PORT": 0, "MEDIAPOD_ADMIN_PORT": 0}
        # Whoever else uses the machine must not decide on a test: neither who is let in nor which frames are late.
        base |= {"MEDIAPOD_ADMISSION_LOOP_LAG_MILLISECONDS": 0, "MEDIAPOD_FRAME_DEADLINE_MILLISECONDS": 5000}
        mediapod = Mediapod(Settings(**{**base, "MEDIAPOD_DEVICE": "CPU", **environment}))
        started.append(mediapod)
        await mediapod.start()
        return mediapod, f"http://127.0.0.1:{mediapod.http.port}"

    yield start
    for each in started:
        await each.stop()


@pytest.fixture
def browse(tmp_path: Path):
    """`async with browse(url) as page`: a browser at `url`."""
    return lambda url: chromium_at(url, tmp_path / "profile")
