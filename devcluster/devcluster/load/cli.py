"""Commands: `run` a load profile, `check-chromium` a service, make a `clip`."""

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import structlog
import typer
import uvloop

from devcluster.load.chromium import ChromiumError, ChromiumSettings
from devcluster.load.chromium import check_chromium as run_chromium_check
from devcluster.load.client import ClientSettings
from devcluster.load.clips import CODECS, ClipSpec, Codec, load_clip
from devcluster.load.control_server import ControlServer, gaussian_blur
from devcluster.load.plan import CloseOrder, Mix, parse_profile
from devcluster.load.runner import LoadRunner, RunSettings
from devcluster.load.visits import VisitRunner, VisitSettings, read_visits

app = typer.Typer(no_args_is_help=True, help="Real WebRTC load and independent checks of a media service.")
_log = structlog.get_logger()

_Url = Annotated[str, typer.Option("--url", help="The service, for example http://127.96.0.7:8080")]
_Stages = Annotated[
    str, typer.Option(help='Stages to look for, JSON: [{"effect": "GaussianBlur", "parameters": {"radius": 7}}]')
]
_Size = Annotated[str, typer.Option(help="Picture size, at least 4:3")]
_Rate = Annotated[int, typer.Option(help="Frames a second")]
_Bits = Annotated[int, typer.Option(help="Bits a second of a clip")]
_Folder = Annotated[Path | None, typer.Option(help="Where clips are kept; default: the user's cache folder")]


def _stages(text: str) -> tuple[dict[str, Any], ...]:
    try:
        stages = json.loads(text or "[]")
    except ValueError as error:
        raise typer.BadParameter(f"--stages: no JSON: {error}") from error
    if not isinstance(stages, list) or not all(isinstance(stage, dict) and "effect" in stage for stage in stages):
        raise typer.BadParameter('--stages: must be a list of {"effect": ..., "parameters": {...}}')
    return tuple(stages)


def _codec(name: str) -> Codec:
    if name not in CODECS:
        raise typer.BadParameter(f"--codec {name!r}: must be one of {', '.join(CODECS)}")
    return name


def _clip_spec(size: str, rate: int, bits: int, codec: Codec = "H264") -> ClipSpec:
    try:
        width, height = (int(part) for part in size.split("x"))
        return ClipSpec(codec, width, height, rate, bits)
    except ValueError as error:
        raise typer.BadParameter(f"clip {size} at {rate}/s: {error}") from error


def _obey(runner: LoadRunner, line: str) -> None:
    """One JSON line of control: {"sessions": 7}, {"overload": [from, to]} or {"stop": true}."""
    try:
        wish = json.loads(line)
        if "sessions" in wish:
            runner.set_target(int(wish["sessions"]))
        if "overload" in wish:
            start, end = wish["overload"]
            runner.add_overload(float(start), float(end))
        if wish.get("stop"):
            runner.stop()
    except (ValueError, TypeError, AttributeError) as error:
        _log.error("control line not understood", line=line.strip(), error=str(error))


async def _control(runner: LoadRunner) -> None:
    """Obey the lines of standard input; its end means that whoever steers is gone, so the run ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb"))
    try:
        while line := await reader.readline():
            _obey(runner, line.decode(errors="replace"))
        runner.stop()
    finally:
        transport.close()


async def _run(settings: RunSettings, control: bool, show: bool) -> dict[str, Any]:
    runner = LoadRunner(settings, (lambda status: print(json.dumps(status), flush=True)) if show else None)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, runner.stop)
    steering = asyncio.ensure_future(_control(runner)) if control else None
    try:
        return await runner.run()
    finally:
        if steering is not None:
            steering.cancel()
            await asyncio.gather(steering, return_exceptions=True)


@app.command()
def run(
    url: _Url,
    profile: Annotated[str, typer.Option(help="step:2,8,2 or at:0=2,20=8,90=2 or ramp:0,10")] = "step:1",
    hold_seconds: Annotated[float, typer.Option(help="How long each step, the last one or the ramp takes")] = 30.0,
    report: Annotated[Path | None, typer.Option(help="JSON report at the end")] = None,
    status_file: Annotated[Path | None, typer.Option(help="JSON status, written every second")] = None,
    stages: _Stages = "",
    vp8_share: Annotated[float, typer.Option(help="Share of VP8 sessions, the others send H.264")] = 0.5,
    inspector_share: Annotated[float, typer.Option(help="Share of sessions that decode and check")] = 0.1,
    size: _Size = "320x240",
    frames_per_second: _Rate = 15,
    bits_per_second: _Bits = 250_000,
    close_order: Annotated[str, typer.Option(help="newest or random")] = "newest",
    seed: int = 0,
    starts_per_second: float = 4.0,
    retry_seconds: Annotated[float, typer.Option(help="How long a rejected session keeps asking")] = 60.0,
    max_seconds: float = 3600.0,
    control_stdin: Annotated[
        bool, typer.Option(help='Obey JSON lines such as {"sessions": 7}; end at end of input')
    ] = False,
    show: Annotated[bool, typer.Option(help="Print the status every second")] = False,
    clip_folder: _Folder = None,
) -> None:
    """Hold sessions as a profile says; exit code 1 when no session ever connected."""
    if close_order not in ("newest", "random"):
        raise typer.BadParameter(f"--close-order {close_order!r}: must be newest or random")
    try:
        settings = RunSettings(
            client=ClientSettings(
                url, _stages(stages), retry_seconds=retry_seconds, token=os.environ.get("MEDIAPOD_TOKEN", "")
            ),
            profile=parse_profile(profile, hold_seconds=hold_seconds),
            mix=Mix(vp8_share, inspector_share),
            clip=_clip_spec(size, frames_per_second, bits_per_second),
            clip_folder=clip_folder,
            close_order=cast(CloseOrder, close_order),
            seed=seed,
            starts_per_second=starts_per_second,
            max_seconds=max_seconds,
            status_file=status_file,
            report_file=report,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_run(settings, control_stdin, show))
    if not result["totals"]["connected"]:
        print(f"no session connected to {url}: {result['totals']['endReasons']}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def visits(
    url: _Url,
    plan: Annotated[Path, typer.Option(help="JSON list of [start, end]: seconds at which users come and leave")],
    report: Annotated[Path, typer.Option(help="JSON report at the end")],
    began: Annotated[float, typer.Option(help="Start of the run, seconds of the Unix epoch; 0: now")] = 0.0,
    stages: _Stages = "",
    vp8_share: Annotated[float, typer.Option(help="Share of VP8 sessions, the others send H.264")] = 0.5,
    inspector_share: Annotated[float, typer.Option(help="Share of sessions that decode and check")] = 0.1,
    size: _Size = "320x240",
    frames_per_second: _Rate = 15,
    bits_per_second: _Bits = 250_000,
    clip_folder: _Folder = None,
) -> None:
    """Play users who come and leave at given times; exit code 1 when no session ever connected."""
    try:
        settings = VisitSettings(
            client=ClientSettings(url, _stages(stages), token=os.environ.get("MEDIAPOD_TOKEN", "")),
            visits=read_visits(plan),
            began=began or time.time(),
            clip=_clip_spec(size, frames_per_second, bits_per_second),
            clip_folder=clip_folder,
            mix=Mix(vp8_share, inspector_share),
            report_file=report,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(VisitRunner(settings).run())
    if not result["totals"]["connected"]:
        print(f"no session connected to {url}: {result['totals']['endReasons']}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def check_chromium(
    url: _Url,
    stages: _Stages = "",
    codec: Annotated[str, typer.Option(help="VP8 or H264")] = "VP8",
    seconds: Annotated[float, typer.Option(help="How long pictures are sent")] = 6.0,
    size: _Size = "320x240",
    frames_per_second: _Rate = 15,
    binary: Annotated[str, typer.Option(help="Path of the browser; default: found on PATH")] = "",
    report: Annotated[Path | None, typer.Option(help="JSON report")] = None,
) -> None:
    """Send numbered pictures through a service with headless Chromium; exit code 1 unless they and the stages' effect
    are seen in what comes back."""
    spec = _clip_spec(size, frames_per_second, 250_000, _codec(codec))
    settings = ChromiumSettings(
        service_url=url,
        stages=_stages(stages),
        codec=spec.codec,
        seconds=seconds,
        width=spec.width,
        height=spec.height,
        frames_per_second=frames_per_second,
        binary=binary,
        token=os.environ.get("MEDIAPOD_TOKEN", ""),
    )
    try:
        found = asyncio.run(run_chromium_check(settings))
    except ChromiumError as error:
        print(f"check failed: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    text = json.dumps({**asdict(found), "effect": found.effect}, indent=1)
    if report is not None:
        report.write_text(text)
    print(text)
    if not found.numbers_increasing or (settings.stages and found.effect != "seen"):
        raise typer.Exit(1)


@app.command()
def clip(
    codec: Annotated[str, typer.Option(help="H264 or VP8")] = "H264",
    size: _Size = "320x240",
    frames_per_second: _Rate = 15,
    bits_per_second: _Bits = 250_000,
    clip_folder: _Folder = None,
) -> None:
    """Make a numbered clip (or find it in the cache) and print what it is."""
    spec = _clip_spec(size, frames_per_second, bits_per_second, _codec(codec))
    made = load_clip(spec, clip_folder)
    rate = sum(map(len, made.frames)) * 8 / spec.seconds / 1000
    print(
        f"{codec} {size} at {frames_per_second}/s: {len(made.frames)} frames, "
        f"{len(made.keyframes)} keyframes, {rate:.0f} kb/s"
    )


@app.command()
def control_server(
    blur_radius: Annotated[int, typer.Option(help="0: echo the pictures as they are")] = 0,
    host: Annotated[str, typer.Option(help="Address for HTTP and media")] = "127.0.0.1",
    seconds: Annotated[float, typer.Option(help="Ends by itself after this time")] = 600.0,
) -> None:
    """Serve a plain aiortc echo to try the checks on; prints its URL."""

    async def serve() -> None:
        async with ControlServer(gaussian_blur(blur_radius) if blur_radius else None, host=host) as server:
            print(server.url, flush=True)
            await asyncio.sleep(seconds)

    asyncio.run(serve())


def main() -> None:
    """Entry point of `python -m devcluster.load.cli`."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    app()


if __name__ == "__main__":
    main()
