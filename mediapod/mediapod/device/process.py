"""The device process as one running thing: the engine of the pod's frames, served to the media workers."""

from __future__ import annotations

import asyncio
import socket

import structlog
from fastapi import FastAPI
from fastapi.responses import Response

from mediapod.api.server import HttpServer
from mediapod.device.connection import Service
from mediapod.device.engines import Engines
from mediapod.device.server import DeviceServer
from mediapod.engine import Engine, InvalidStages, StageSpec, build_engine
from mediapod.engine.stages import build_stages, changes_nothing
from mediapod.ipc.listener import inherited
from mediapod.ipc.orders import Orders
from mediapod.ipc.tether import Status, Tether
from mediapod.observability.metrics import Metrics
from mediapod.observability.occupancy import Occupancy, usable_cpus
from mediapod.run import EXIT_BAD_SETTINGS, EXIT_FAILED, CannotRun
from mediapod.settings import Settings

log = structlog.get_logger(__name__)


class DeviceProcess:
    """See Pod. Raises CannotRun."""

    def __init__(self, settings: Settings, orders: Orders, stopping: asyncio.Event) -> None:
        self._orders, self._metrics, self._started = orders, Metrics(), False
        stages = [StageSpec(stage.name, stage.effect, stage.parameters) for stage in settings.stages]
        try:
            self._engine = build_engine(
                stages,
                settings.effective_device,
                service_time_seconds=settings.service_time_seconds,
                on_fallback=self._metrics.device_fallback,
            )
            self._changes_nothing = settings.effective_device != "Simulated" and changes_nothing(build_stages(stages))
        except InvalidStages as error:
            raise CannotRun(error.describe(), EXIT_BAD_SETTINGS) from error
        self._metrics.device_busy(self._engine.busy_seconds)
        self._occupancy = Occupancy(self._engine.busy_seconds, usable_cpus())
        self._engines = Engines(self._engine, self._for_requests)
        self._tether = Tether(orders.control, self._status, lambda _: None, stopping.set)
        self._admin = HttpServer(inherited(orders.admin))
        self._server: DeviceServer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Warm up and serve. Raises CannotRun when the device is not the one that is wanted."""
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._tether.run(), name="mediapod-beats"))
        self._tasks.append(loop.create_task(self._occupancy.run(), name="mediapod-occupancy"))
        self._admin.start(self._admin_app())
        if self._orders.wanted_device not in ("", self._engine.device):
            raise CannotRun(f"the device is {self._engine.device}, no longer {self._orders.wanted_device}", EXIT_FAILED)
        await self._engine.start()
        if self._orders.frames is None:
            raise CannotRun("the device process needs a socket for frames", EXIT_FAILED)
        service = Service(self._engines, self._engine.device, self._changes_nothing)
        self._server = DeviceServer(inherited(self._orders.frames, socket.SOCK_SEQPACKET), service)
        self._tasks.append(loop.create_task(self._server.run(), name="mediapod-device-server"))
        self._started = True
        log.info("device process ready", device=self._engine.device)

    async def drain(self) -> None:
        """Nothing to wait for: the media workers have ended."""

    async def stop(self) -> None:
        """End all connections and the engine."""
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            await self._server.close()
        await self._engine.stop()
        await self._admin.stop()
        self._tether.close()

    def _status(self) -> Status:
        busy = round(self._occupancy.busy_share(), 1)
        return Status(started=self._started, device=self._engine.device, busy=busy)

    def _for_requests(self, stages: list[StageSpec]) -> Engine:
        """On the GPU, behind the live frames; the only device that requests share."""
        device = "GPU" if self._engine.device == "cuda" else "CPU"
        return build_engine(stages, device, on_fallback=self._metrics.device_fallback, background=True)

    def _admin_app(self) -> FastAPI:
        app = FastAPI(title="mediapod device", docs_url=None, redoc_url=None)

        @app.get("/metrics")
        async def metrics() -> Response:
            content, media_type = self._metrics.exposition()
            return Response(content, headers={"content-type": media_type})

        return app
