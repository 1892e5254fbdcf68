"""An independent check: headless Chromium sends numbered pictures through a service and looks at what comes back.

Browser, codecs, jitter buffer and the reader of the marks (page/check.js) are not the load client's. The page is served
on loopback and posts its offer to the server here, which hands it on, so that the service needs no CORS.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
from aiohttp import web

from devcluster.load.clips import Codec
from devcluster.load.drawing import draw
from devcluster.load.layout import Layout
from devcluster.load.signalling import OfferError, ice_servers, offer_until
from devcluster.load.statistics import summary
from devcluster.load.verdict import PatchReading, Verdict, effect_seen

_PAGE = Path(__file__).parent / "page"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--autoplay-policy=no-user-gesture-required",
    # Plain host candidates, also on loopback: nothing answers multicast DNS here, and the service may listen in 127/8.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--allow-loopback-in-peer-connection",
)
START_SECONDS = 90.0
_END_SECONDS = 5.0


class ChromiumError(Exception):
    """The check could not be made; the message says why and what to do."""


@dataclass(frozen=True)
class ChromiumSettings:
    """A check. seconds: how long pictures are sent after the answer.

    enough_pictures: it ends as soon as so many were read, however fast the machine is; 0: only time ends it.
    """

    service_url: str
    stages: tuple[Mapping[str, Any], ...] = ()
    codec: Codec = "VP8"
    seconds: float = 6.0
    width: int = 320
    height: int = 240
    frames_per_second: int = 15
    binary: str = ""
    token: str = ""
    enough_pictures: int = 0


@dataclass(frozen=True)
class ChromiumReport:
    """What the browser saw. numbers_increasing: the numbers read never went back, and at least ten differed."""

    pictures_drawn: int
    pictures_read: int
    pictures_unreadable: int
    numbers_increasing: bool
    first_number: int | None
    last_number: int | None
    glass_to_glass_milliseconds: Mapping[str, float | None]
    verdicts: Mapping[str, int]
    reason: str
    connection_state: str
    user_agent: str
    frames_checked: int = field(default=0)

    @property
    def effect(self) -> str:
        """`seen` or `not seen` when all checked pictures say so, else `unclear`."""
        return next(iter(self.verdicts)) if len(self.verdicts) == 1 else "unclear"


def find_chromium(binary: str = "") -> str:
    """The browser's path: the given one, CHROMIUM, or the first known name on PATH. Raises ChromiumError."""
    for name in (binary, os.environ.get("CHROMIUM", ""), *_NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise ChromiumError(
        "no Chromium found: install it (Debian: apt-get install chromium), put it on PATH or set CHROMIUM to its path"
    )


class _Checker:
    """The page's own server: page, settings, the way to the service, and the result."""

    def __init__(self, settings: ChromiumSettings) -> None:
        self._settings = settings
        self._layout = Layout(settings.width, settings.height)
        self.result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve on a free loopback port; gives the page's URL."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_get("/settings", self._give_settings)
        app.router.add_get("/ground.png", self._ground)
        app.router.add_post("/webrtc/offer", self._offer)
        app.router.add_post("/result", self._take_result)
        app.router.add_get("/{name:check.html|check.js}", self._file)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/check.html"
        finally:
            await runner.cleanup()

    async def _file(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(_PAGE / request.match_info["name"])

    async def _give_settings(self, _request: web.Request) -> web.Response:
        settings = self._settings
        try:
            servers = await ice_servers(settings.service_url, token=settings.token)
        except OfferError as error:
            return web.json_response({"problem": str(error)})
        return web.json_response(
            {
                "iceServers": servers,
                "layout": self._layout.as_json(),
                "framesPerSecond": settings.frames_per_second,
                "seconds": settings.seconds,
                "enoughPictures": settings.enough_pictures,
                "mimeType": f"video/{settings.codec}",
            }
        )

    async def _ground(self, _request: web.Request) -> web.Response:
        picture = draw(self._layout, 0)
        digits = self._layout.digits
        picture[digits.top : digits.bottom, digits.left : digits.right] = picture[0, 0]
        done, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if not done:
            raise web.HTTPInternalServerError(text="the ground picture could not be encoded")
        return web.Response(body=png.tobytes(), content_type="image/png")

    async def _offer(self, request: web.Request) -> web.Response:
        body = await request.json()
        counts = SimpleNamespace(offers=0, rejections=0, failed_offers=0)
        try:
            answer = await offer_until(
                self._settings.service_url,
                str(body["sdp"]),
                counts,
                deadline_seconds=15,
                token=self._settings.token,
                timeout_seconds=10,
            )
        except OfferError as error:
            return web.json_response({"detail": str(error)}, status=502)
        return web.json_response({"sdp": answer.sdp, "type": answer.type, "sessionId": answer.session_id})

    async def _take_result(self, request: web.Request) -> web.Response:
        result = await request.json()
        if not self.result.done():
            self.result.set_result(result)
        return web.json_response({})


@asynccontextmanager
async def _browser(binary: str, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Chromium with an empty profile in a process group of its own, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix="chromium-check-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            *(binary, *FLAGS, f"--user-data-dir={folder}", url),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            await _end_group(process)


async def _end_group(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except ProcessLookupError:
            break
        except TimeoutError:
            continue


async def _result_of(checker: _Checker, process: asyncio.subprocess.Process, timeout: float) -> dict[str, Any]:
    ended = asyncio.ensure_future(process.wait())
    waiting: set[asyncio.Future[Any]] = {checker.result, ended}
    try:
        done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
    if checker.result in done:
        return checker.result.result()
    why = f"ended with code {process.returncode}" if ended in done else f"gave no result within {timeout:g} s"
    raise ChromiumError(f"Chromium {why}; try it by hand with {' '.join(FLAGS[:3])}")


def _reading(raw: Mapping[str, Any]) -> PatchReading:
    colours = {name: (float(rgb[0]), float(rgb[1]), float(rgb[2])) for name, rgb in raw["colours"].items()}
    return PatchReading(raw["checkerContrast"], colours, raw["black"], raw["white"], int(raw["dx"]), int(raw["dy"]))


def _report(result: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]) -> ChromiumReport:
    if "error" in result:
        raise ChromiumError(f"the page failed: {result['error']}")
    numbers = cast(list[int], result["numbers"])
    before = _reading(result["reference"])
    found: list[Verdict] = [effect_seen(before, _reading(raw), stages) for raw in result["patches"]]
    answers: dict[str, int] = {}
    for verdict in found:
        answers[verdict.answer] = answers.get(verdict.answer, 0) + 1
    return ChromiumReport(
        pictures_drawn=result["drawn"],
        pictures_read=len(numbers),
        pictures_unreadable=result["unreadable"],
        numbers_increasing=numbers == sorted(numbers) and len(set(numbers)) >= 10,
        first_number=numbers[0] if numbers else None,
        last_number=numbers[-1] if numbers else None,
        glass_to_glass_milliseconds=summary(result["delays"]),
        verdicts=answers,
        reason=found[-1].reason if found else "no picture with readable marks came back",
        connection_state=result["state"],
        user_agent=result["userAgent"],
        frames_checked=len(found),
    )


async def check_chromium(settings: ChromiumSettings) -> ChromiumReport:
    """Run the check once; takes a few seconds more than settings.seconds at most.

    Raises ChromiumError when there is no browser, it does not start, or the service refuses the offer.
    """
    binary = find_chromium(settings.binary)
    checker = _Checker(settings)
    async with checker.serve() as url, _browser(binary, url) as process:
        result = await _result_of(checker, process, settings.seconds + START_SECONDS)
    return _report(result, settings.stages)
