"""The engine of a media worker whose device is in another process: the device process does the work while it is there,
the worker's own CPU while it is not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from mediapod.engine.breaker import Breaker
from mediapod.engine.factory import OnFallback
from mediapod.engine.interface import DeadlineExceeded, Engine, Processed
from mediapod.engine.lease import DeviceGone, DeviceSilent, Lease, open_lease
from mediapod.engine.stages import StageSpec
from mediapod.engine.wire import Hello, WireStage
from mediapod.frames.i420 import I420Frame

log = structlog.get_logger(__name__)

FALLBACK_DEVICE_LOST = "device_lost"
FALLBACK_DEVICE_SILENT = "device_silent"

FIRST_LEASE_SECONDS = 120.0  # a device process loads torch and warms up; one for requests compiles a new effect
LEASE_SECONDS = 30.0
RETRY_SECONDS = 0.25
SILENT_SECONDS = 1.0  # after a frame's deadline; the device process replies to late frames, too

MakeEngine = Callable[[], Engine]


def hello_for(slots: int, pixels: int, stages: Sequence[StageSpec] | None = None) -> Hello:
    """What to ask for. slots: pictures under way at once; pixels: of the largest; stages: None for the pipeline's."""
    wire = None if stages is None else [_on_the_wire(stage) for stage in stages]
    return Hello(slots=slots, slot_bytes=2 * pixels + 2, stages=wire, background=stages is not None)


def _on_the_wire(stage: StageSpec) -> WireStage:
    return WireStage.model_validate({"name": stage.name, "effect": stage.effect, "parameters": dict(stage.parameters)})


class RemoteEngine:
    """path: where the device process listens. make_fallback: builds the CPU engine, in a thread, when it is first
    needed: a user's model may be large. on_fallback: called with the reason whenever the device is lost.
    """

    def __init__(self, path: str, hello: Hello, make_fallback: MakeEngine, on_fallback: OnFallback) -> None:
        self.device = ""
        self.changes_nothing = False
        self._path, self._hello, self._make_fallback, self._on_fallback = path, hello, make_fallback, on_fallback
        self._lease: Lease | None = None
        self._breaker = Breaker()
        self._fallback: Engine | None = None
        self._falling_back = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Wait for the device process. Raises OSError when it does not answer, InvalidStages."""
        self._take(await open_lease(self._path, self._hello, FIRST_LEASE_SECONDS))
        self._spawn(self._keep_leased())

    async def stop(self) -> None:
        """End the connection and the CPU engine."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()
        if self._fallback is not None:
            await self._fallback.stop()

    async def process(self, frame: I420Frame, deadline: float) -> Processed:
        """See Engine.process. A frame that the device process takes with it is worked on here if there is time."""
        lease, now = self._lease, time.monotonic()
        if lease is None or not self._breaker.allow(now):
            return await self._on_cpu(frame, deadline)
        try:
            processed = await lease.process(frame, deadline, max(0.0, deadline - now) + SILENT_SECONDS)
        except DeviceSilent as silent:
            self._silent()
            raise DeadlineExceeded(str(silent)) from silent
        except DeviceGone:
            return await self._on_cpu(frame, deadline)
        self._breaker.succeed()
        return processed

    def busy_seconds(self) -> Mapping[str, float]:
        """Return what this process has worked; the device process counts its own time."""
        return self._fallback.busy_seconds() if self._fallback is not None else {}

    async def _on_cpu(self, frame: I420Frame, deadline: float) -> Processed:
        if self._fallback is None:
            raise DeadlineExceeded("the device process is gone, and the CPU is not ready yet")
        return await self._fallback.process(frame, deadline)

    def _take(self, lease: Lease) -> None:
        self._lease, self._breaker = lease, Breaker()
        self.device, self.changes_nothing = lease.device, lease.changes_nothing

    async def _keep_leased(self) -> None:
        """Notice that the device process is gone, and come back to it when it is back; until cancelled."""
        while self._lease is not None:
            await self._lease.lost.wait()
            self._lease = None
            self._fall_back(FALLBACK_DEVICE_LOST)
            self._take(await self._lease_again())
            log.info("device process is back", device=self.device)

    async def _lease_again(self) -> Lease:
        while True:
            try:
                return await open_lease(self._path, self._hello, LEASE_SECONDS)
            except OSError:
                await asyncio.sleep(RETRY_SECONDS)

    def _silent(self) -> None:
        """Counted once, however many frames were waiting."""
        if self._breaker.state != "open":
            self._fall_back(FALLBACK_DEVICE_SILENT)
        self._breaker.fail(time.monotonic())

    def _fall_back(self, reason: str) -> None:
        self._on_fallback(reason)
        log.warning("frames go to the CPU", reason=reason, device=self.device)
        if not self._falling_back:
            self._falling_back = True
            self._spawn(self._prepare_fallback())

    async def _prepare_fallback(self) -> None:
        once = ThreadPoolExecutor(1, thread_name_prefix="mediapod-fallback")
        try:
            engine = await asyncio.get_running_loop().run_in_executor(once, self._make_fallback)
            await engine.start()
            self._fallback = engine
        except Exception as error:  # noqa: BLE001  a user's model may raise anything; the next loss is another try
            log.error("the CPU cannot stand in for the device", error=str(error))  # noqa: TRY400  see above
            self._falling_back = False
        finally:
            once.shutdown(wait=False)

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
