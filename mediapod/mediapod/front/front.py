"""The front as one running thing: ports, placement and probes here, media in the other processes."""

from __future__ import annotations

import asyncio
import socket
import time

import structlog

from mediapod.access import access_for
from mediapod.api.health import DeviceReport, report_of
from mediapod.api.limits import OFFERS_AT_ONCE, OFFERS_PER_SECOND, TokenBucket
from mediapod.api.server import HttpServer, listen
from mediapod.front.crew import Crew
from mediapod.front.desk import Desk
from mediapod.front.routes import admin_app, user_app
from mediapod.front.shares import shares
from mediapod.ipc.listener import listen_unseen
from mediapod.observability.metrics import Metrics
from mediapod.observability.watchdog import LoopWatchdog
from mediapod.placement import Placement
from mediapod.placement.peers import find_peers
from mediapod.settings import Settings

log = structlog.get_logger(__name__)

GRACE_MARGIN_SECONDS = 5.0
LOOK_SECONDS = 0.1
ALONE_SECONDS = 60.0  # without any worker; then a new container is worth a try


class Front:
    """See Pod. Raises PortTaken, OSError."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.admin = HttpServer(listen(settings.address, settings.admin_port, "MEDIAPOD_ADMIN_PORT"))
        self.http = HttpServer(listen(settings.address, settings.http_port, "MEDIAPOD_HTTP_PORT"))
        self._frames = listen_unseen(socket.SOCK_SEQPACKET)
        self._address = settings.admin_address(self.admin.port)
        peers = find_peers(settings.peers, self.admin.port)
        self.placement = Placement(peers, lambda: self.desk.load(), self._address)
        self._shares = shares(settings)
        self.crew = Crew(settings, self._shares, self.placement.owner, self.metrics)
        self.desk = self._desk()
        self.metrics.gauge("mediapod_draining", "1 while no new sessions are taken.", lambda: self.desk.draining)
        self._watchdog = LoopWatchdog(self.metrics.loop_lag)
        self._started = False
        self._worker_seen = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serve the probes, start all processes, then be ready. Raises CannotRun."""
        self.admin.start(admin_app(self.desk, self))
        self.http.start(user_app(self.desk, self, self.settings.allowed_origins))
        loop = asyncio.get_running_loop()
        for work in (self._watchdog.run(), self.crew.keep_metrics()):
            self._tasks.append(loop.create_task(work))
        await self.crew.start(self._frames)
        self._started = True
        log.info(
            "mediapod ready",
            device=self.crew.device,
            http_port=self.http.port,
            admin_port=self.admin.port,
            workers=len(self._shares),
        )

    async def drain(self) -> None:
        """Take no new sessions; return when the last one has ended, or shortly before the grace period is over."""
        self.desk.set_draining(True)
        until = time.monotonic() + self.settings.grace_seconds - GRACE_MARGIN_SECONDS
        while self.crew.taken:
            if time.monotonic() >= until:
                log.warning("grace period over, ending sessions", sessions=self.crew.taken)
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        """End all processes, then everything else. Safe after a failed start."""
        for task in self._tasks:
            task.cancel()
        await self.crew.stop()
        await asyncio.gather(self.http.stop(), self.admin.stop())
        await self.placement.close()
        self._frames.close()

    def not_alive(self) -> list[str]:
        """See Condition."""
        if not self._started:
            return []
        if not self._watchdog.alive:
            return ["the event loop is stuck"]
        if self.crew.workers:
            self._worker_seen = time.monotonic()
        alone = time.monotonic() - self._worker_seen
        return [f"no media worker has run for {alone:.0f} s"] if alone > ALONE_SECONDS else []

    def not_started(self) -> list[str]:
        """See Condition."""
        return [] if self._started else ["warming up"]

    def not_ready(self) -> list[str]:
        """See Condition."""
        draining = ["draining"] if self.desk.draining else []
        alone = ["no media worker is running"] if self._started and not self.crew.workers else []
        unready = sorted({member.status.unready for member in self.crew.workers} - {""})
        return self.not_started() + self.not_alive() + draining + alone + unready

    def device(self) -> DeviceReport:
        """See Condition."""
        return report_of(self.crew.device)

    def _desk(self) -> Desk:
        settings, count = self.settings, len(self._shares)
        token, key = (value.get_secret_value() if value else None for value in (settings.token, settings.jwt_key))
        return Desk(
            crew=self.crew,
            metrics=self.metrics,
            access=access_for(token, key, settings.jwt_audience),
            offers=TokenBucket(count * OFFERS_PER_SECOND, count * OFFERS_AT_ONCE),
            maximum_bytes=settings.process_maximum_bytes,
            owner=self.placement.owner,
            placement=self.placement,
            started=lambda: self._started,
            address=self._address,
            fill_share=settings.placement_fill_percent / 100,
        )
