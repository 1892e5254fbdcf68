"""The load client over real WebRTC on loopback, against a plain aiortc echo server."""

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from devcluster.load import compat
from devcluster.load.client import ClientSettings, LoadClient
from devcluster.load.clips import CODECS, ClipSpec, Codec, load_clip
from devcluster.load.control_server import ControlServer, gaussian_blur
from devcluster.load.plan import Mix, parse_profile
from devcluster.load.runner import LoadRunner, RunSettings
from devcluster.load.statistics import SessionStatistics, totals

pytestmark = pytest.mark.media
NUMBERS_READ = 20
BLUR = ({"effect": "GaussianBlur", "parameters": {"radius": 7}},)


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """No task of a test may outlive it."""
    before = asyncio.all_tasks()
    yield

    def left() -> set[asyncio.Task[object]]:
        return {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}

    for _ in range(200):
        if not left():
            break
        await asyncio.sleep(0.05)
    assert not left(), left()


async def _until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the client offers figures, not events
            await asyncio.sleep(0.05)


async def _session(
    server: ControlServer,
    codec: Codec,
    *,
    frames: int = 30,
    inspect: bool = True,
    settings: ClientSettings | None = None,
) -> SessionStatistics:
    """One session that is closed from this side after so many returned frames, when an inspecting one has read most and
    all that was sent has come back but the last one, which a stock receiver keeps.
    """
    client = LoadClient(
        "one", load_clip(ClipSpec(codec)), settings or ClientSettings(server.url, BLUR), inspect=inspect
    )
    task = asyncio.ensure_future(client.run())
    one, read = client.statistics, NUMBERS_READ if inspect and frames > NUMBERS_READ else 0
    await _until(lambda: (one.frames_returned >= frames and one.numbers_right >= read) or task.done())
    client._track.finish()
    with contextlib.suppress(TimeoutError):
        await _until(lambda: one.frames_sent - one.frames_returned <= 1 or task.done(), 5)
    await client.close()
    return await asyncio.wait_for(task, 60)


async def test_aiortc_still_has_what_the_client_relies_on() -> None:
    await compat.self_test()


async def test_a_changed_aiortc_is_noticed() -> None:
    with pytest.raises(RuntimeError, match=r"no Track\.gone: .* aiortc"):
        compat._replace(type("Track", (), {})(), "gone", None)


@pytest.mark.parametrize("codec", CODECS)
async def test_frames_come_back_with_their_numbers_and_without_the_effect_from_a_plain_echo(codec: Codec) -> None:
    async with ControlServer(host="127.64.0.5") as server:
        one = await _session(server, codec)
    assert one.end_reason == "client closed"
    assert one.frames_sent - one.frames_returned <= 3  # a stock receiver holds the last frame back for ever
    assert one.anchored_by == "number"
    assert (one.numbers_wrong, one.numbers_unreadable, one.frames_undecodable, one.unmatched) == (0, 0, 0, 0)
    assert one.numbers_right >= NUMBERS_READ
    assert set(one.verdicts) == {"not seen"}, one.last_verdict_reason
    milliseconds = one.as_json()["round_trip_milliseconds"]["p50"]
    assert milliseconds > 1000 / 15, "a stock receiver hands a frame on when the next one comes: one frame later"


@pytest.mark.parametrize("codec", CODECS)
async def test_a_blur_is_seen(codec: Codec) -> None:
    async with ControlServer(gaussian_blur(7), host="127.64.0.6") as server:
        one = await _session(server, codec)
    assert set(one.verdicts) == {"seen"}, one.last_verdict_reason
    assert one.numbers_right >= NUMBERS_READ
    assert one.numbers_wrong == 0


async def test_a_counting_client_decodes_only_until_it_has_read_one_number() -> None:
    async with ControlServer() as server:
        one = await _session(server, "H264", inspect=False)
    assert 1 <= one.frames_decoded <= 3
    assert one.frames_returned >= 30
    assert one.verdicts == {}


async def test_rejected_offers_are_counted_and_tried_again() -> None:
    async with ControlServer(reject_offers=3) as server:
        one = await _session(server, "VP8", frames=5)
    assert (one.offers, one.rejections) == (4, 3)
    assert one.connect_seconds is not None


async def test_a_service_that_stays_full_ends_the_session_as_rejected() -> None:
    async with ControlServer(reject_offers=1_000) as server:
        for seconds in (0.5, 4.0, 16.0):  # more than enough for three offers, unless the machine stalls
            one = await _session(server, "VP8", settings=ClientSettings(server.url, retry_seconds=seconds))
            if one.rejections >= 3:
                break
    assert one.end_reason == "rejected"
    assert "full" in one.end_detail
    assert one.rejections >= 3
    assert one.connect_seconds is None


async def test_a_service_that_is_not_there_fails_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = LoadClient("one", load_clip(ClipSpec()), ClientSettings(url, retry_seconds=0.3))
        one = await asyncio.wait_for(client.run(), 60)
    assert one.end_reason == "failed"
    assert url in one.end_detail


async def test_a_session_closed_by_the_server_is_told_apart() -> None:
    async with ControlServer() as server:
        client = LoadClient("one", load_clip(ClipSpec()), ClientSettings(server.url))
        task = asyncio.ensure_future(client.run())
        await _until(lambda: client.statistics.frames_returned >= 5)
        await server.close_sessions()
        one = await asyncio.wait_for(task, 60)
    assert one.end_reason == "server closed"
    assert one.ended_by_server
    assert one.ended_time is not None


async def test_a_session_that_died_silently_is_seen_when_it_is_closed() -> None:
    async with ControlServer() as server:
        client = LoadClient("one", load_clip(ClipSpec()), ClientSettings(server.url))
        task = asyncio.ensure_future(client.run())
        await _until(lambda: client.statistics.frames_returned >= 5)
        await _until(lambda: client.statistics.silent_seconds(time.time()) < 1)
        await _until(lambda: client.connected and server.mute() and client.statistics.silent_seconds(time.time()) > 5)
        await client.close()
        one = await asyncio.wait_for(task, 60)
    assert one.end_reason == "client closed"
    assert "nothing came back" in one.end_detail
    assert totals([one])["silentAtClose"] == ["one"]


async def test_a_runner_follows_its_profile_and_its_targets_and_leaves_nothing(tmp_path: Path) -> None:
    async with ControlServer() as server:
        runner = LoadRunner(
            RunSettings(
                client=ClientSettings(server.url),
                profile=parse_profile("step:2", hold_seconds=60),
                mix=Mix(0.5, 0.5),
                starts_per_second=20,
                status_file=tmp_path / "status.json",
                report_file=tmp_path / "report.json",
            )
        )
        task = asyncio.ensure_future(runner.run())
        await _until(lambda: runner.status()["connected"] == 2)
        runner.set_target(3)
        await _until(lambda: runner.status()["connected"] == 3)
        runner.set_target(1)
        await _until(lambda: runner.status()["running"] == 1)
        await _until(lambda: json.loads((tmp_path / "status.json").read_text())["wanted"] == 1)
        runner.stop()
        report = await asyncio.wait_for(task, 60)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["totals"]["endReasons"] == {"client closed": 3}
    assert report["totals"]["connected"] == report["totals"]["sessions"] == 3
    assert report["totals"]["outsideOverloads"]["framesReturned"] > 0
    assert {one["codec"] for one in report["perSession"]} == {"H264", "VP8"}


async def test_the_command_obeys_its_input_and_ends_with_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    async with ControlServer() as server:
        arguments = [
            "run",
            "--url",
            server.url,
            "--profile",
            "step:1",
            "--report",
            str(report),
            "--control-stdin",
            "--show",
        ]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devcluster.load.cli", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'nonsense\n{"sessions": 2}\n')
        async with asyncio.timeout(120):
            while json.loads(await process.stdout.readline())["connected"] != 2:
                pass
            process.stdin.close()
            await process.communicate()
    assert process.returncode == 0
    assert json.loads(report.read_text())["totals"]["connected"] == 2


async def test_the_command_fails_when_nothing_ever_connected(tmp_path: Path) -> None:
    async with ControlServer(reject_offers=1_000) as server:
        arguments = ["run", "--url", server.url, "--profile", "step:1", "--hold-seconds", "2"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devcluster.load.cli", *arguments), stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(120):
            _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"no session connected" in errors
