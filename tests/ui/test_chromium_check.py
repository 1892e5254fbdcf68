"""Headless Chromium, software that we did not write, sees numbers and effect in what a service sends back."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from devcluster.load.chromium import ChromiumError, ChromiumSettings, check_chromium, find_chromium
from devcluster.load.clips import CODECS, Codec
from devcluster.load.control_server import ControlServer, gaussian_blur

pytestmark = pytest.mark.ui
LOOK = {"seconds": 60, "enough_pictures": 40}
BLUR = ({"effect": "GaussianBlur", "parameters": {"radius": 7}},)


@pytest.fixture
def chromium() -> str:
    try:
        return find_chromium()
    except ChromiumError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("codec", CODECS)
async def test_the_effect_is_seen_where_it_is(chromium: str, codec: Codec) -> None:
    async with ControlServer(gaussian_blur(7), host="127.64.0.31") as server:
        report = await check_chromium(ChromiumSettings(server.url, BLUR, codec, **LOOK, binary=chromium))
    assert report.connection_state == "connected"
    assert report.numbers_increasing, report
    assert report.pictures_read >= 20
    assert report.effect == "seen", report.reason


async def test_the_effect_is_not_seen_where_it_is_not(chromium: str) -> None:
    async with ControlServer(host="127.64.0.32") as server:
        report = await check_chromium(ChromiumSettings(server.url, BLUR, **LOOK, binary=chromium))
    assert report.numbers_increasing, report
    assert report.effect == "not seen", report.reason


async def test_a_refused_offer_is_told_with_its_reason(chromium: str) -> None:
    async with ControlServer(reject_offers=1_000, retry_after="20") as server:
        with pytest.raises(ChromiumError, match="full"):
            await check_chromium(ChromiumSettings(server.url, seconds=4, binary=chromium))


async def test_the_command_fails_without_the_effect_and_leaves_no_browser(chromium: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    folder = tempfile.mkdtemp(prefix="c-", dir="/tmp")  # short: Chromium aborts when the path of its socket gets long
    async with ControlServer(host="127.64.0.33") as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devcluster.load.cli", "check-chromium", "--url", server.url),
            *("--stages", json.dumps(BLUR), "--seconds", "15", "--binary", chromium, "--report", str(report)),
            env={"TMPDIR": folder, "PATH": "/usr/bin:/bin"},
        )
        assert await asyncio.wait_for(process.wait(), 180) == 1
    assert json.loads(report.read_text())["effect"] == "not seen"
    left = [name for name in os.listdir(folder) if name.startswith("chromium-check-")]  # noqa: PTH208  a short look
    shutil.rmtree(folder)
    assert not left, "the browser's profile is removed"


def test_without_a_browser_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ChromiumError, match="CHROMIUM"):
        find_chromium("/no/such/chromium")
