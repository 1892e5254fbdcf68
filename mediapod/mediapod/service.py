"""The mediapod as one running thing: everything wired, started and stopped in order."""

from __future__ import annotations

import asyncio
import importlib.metadata
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import structlog
from fastapi import FastAPI

from mediapod.access import Access, access_for
from mediapod.api.apps import admin_app, http_app
from mediapod.api.health import DeviceReport, report_of
from mediapod.api.limits import (
    OFFERS_AT_ONCE,
    OFFERS_PER_SECOND,
    REQUESTS_AT_ONCE,
    REQUESTS_PER_SECOND,
    TokenBucket,
)
from mediapod.api.process import Processing
from mediapod.api.server import HttpServer, listen
from mediapod.api.signalling import Signalling
from mediapod.effects import EFFECTS
from mediapod.engine import Engine, StageSpec, build_engine
from mediapod.engine.remote import RemoteEngine, hello_for
from mediapod.engine.stages import build_stages, changes_nothing
from mediapod.frames.ledger import FrameLedger
from mediapod.ipc.tether import Status
from mediapod.observability.metrics import Metrics
from mediapod.observability.occupancy import Occupancy, usable_cpus
from mediapod.observability.watchdog import LoopWatchdog
from mediapod.placement import Load, Placement
from mediapod.placement.peers import find_peers
from mediapod.process.service import RequestProcessor
from mediapod.process.simulation import Simulation
from mediapod.rtc import compat
from mediapod.rtc.decoder import MAXIMUM_PIXELS
from mediapod.rtc.ice import MediaAddress
from mediapod.rtc.peer import Peer, PublishingPeer
from mediapod.rtc.relay import Relay
from mediapod.rtc.turn import TurnServers
from mediapod.rtc.video import FramePolicy, LatePolicy, VideoPath
from mediapod.session.admission import Admission, Headroom
from mediapod.session.registry import SessionRegistry
from mediapod.session.room import Measured, has_room
from mediapod.session.state import Limits
from mediapod.settings import Settings

log = structlog.get_logger(__name__)

SIMULATED_DEVICE = "Simulated"
GRACE_MARGIN_SECONDS = 5.0
LIVE_SLOTS, REQUEST_SLOTS = 64, 8  # pictures in shared memory at once


@dataclass(frozen=True, slots=True)
class Part:
    """What makes a mediapod a media worker behind a front: it listens on these sockets instead of ports.

    owner: the worker in session URLs; device: the path to the device process, None without one.
    """

    owner: str
    http: socket.socket
    admin: socket.socket
    device: str | None = None


class Mediapod:
    """One mediapod. Build it on a running event loop, then `start`; `stop` ends everything.

    Raises InvalidStages, PortTaken.
    """

    def __init__(self, settings: Settings, engine: Engine | None = None, part: Part | None = None) -> None:
        self.settings = settings
        self._part = part
        self.metrics = Metrics()
        self.engine = engine or self._own_engine()
        self._encode_pool = ThreadPoolExecutor(settings.workers + 1, thread_name_prefix="mediapod-encode")
        self._unchanged = engine is None and not self._device and _changes_nothing(settings)
        self._watchdog = LoopWatchdog(self.metrics.loop_lag)
        self._occupancy = Occupancy(self.engine.busy_seconds, usable_cpus() if part is None else 1.0)
        admission = Admission(settings.max_sessions, _headroom(settings), self._watchdog.recent_lag_seconds)
        deadline_seconds = settings.frame_deadline_milliseconds / 1000
        self.registry = SessionRegistry(admission, _limits(settings), self._make_peer, self.metrics, deadline_seconds)
        self._relay = _relay(settings)
        self._publish_metrics()
        self.admin, self.http = self._servers()
        self.placement = Placement(
            find_peers(settings.peers, self.admin.port), self.load, self.settings.admin_address(self.admin.port)
        )
        self._requests = RequestProcessor(self._request_engine, settings.workers)
        simulated = settings.effective_device == SIMULATED_DEVICE
        self.simulation = Simulation(simulated, settings.simulation_toggle, settings.gpu_speedup_factor)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serve the probes, warm up, then be ready. Raises IncompatibleAiortc, or what the engine raises."""
        loop = asyncio.get_running_loop()
        signalling = self._signalling()
        self.admin.start(admin_app(signalling, self, self.load))
        self.http.start(self._http_app(signalling))
        await compat.self_test()
        await self.engine.start()
        self._tasks += [loop.create_task(self._watchdog.run()), loop.create_task(self.registry.watch_timers())]
        self._tasks.append(loop.create_task(self._occupancy.run()))
        if self._relay is not None:
            self._tasks.append(loop.create_task(self._relay.prove()))
        self.metrics.build_info(importlib.metadata.version("mediapod"), self.engine.device)
        self.registry.admission.started = True
        if self._part is None:
            log.info("mediapod ready", device=self.engine.device, http_port=self.http.port, admin_port=self.admin.port)

    async def drain(self) -> None:
        """Take no new sessions; return when the last one has ended, or shortly before the grace period is over."""
        self.registry.set_draining(True)
        patience = max(0.0, self.settings.grace_seconds - GRACE_MARGIN_SECONDS)
        if not await self.registry.wait_empty(patience):
            log.warning("grace period over, ending sessions", sessions=len(self.registry.sessions))

    async def stop(self) -> None:
        """End all sessions, then everything else. Safe after a failed start."""
        self.registry.admission.started = False
        await self.registry.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        await self.engine.stop()
        await self._requests.stop()
        await asyncio.gather(self.http.stop(), self.admin.stop())
        await self.placement.close()
        self._encode_pool.shutdown(wait=False, cancel_futures=True)

    def not_alive(self) -> list[str]:
        """See Condition."""
        return [] if not self.registry.admission.started or self._watchdog.alive else ["the event loop is stuck"]

    def not_started(self) -> list[str]:
        """See Condition."""
        return [] if self.registry.admission.started else ["warming up"]

    def not_ready(self) -> list[str]:
        """See Condition."""
        draining = ["draining"] if self.registry.admission.draining else []
        relay = [self._relay.unproven] if self._relay is not None and self._relay.unproven else []
        return self.not_started() + self.not_alive() + draining + relay

    def device(self) -> DeviceReport:
        """See Condition."""
        return report_of(self.engine.device)

    def status(self) -> Status:
        """What a front wants to know."""
        registry, admission = self.registry, self.registry.admission
        taken = len(registry.sessions)
        return Status(
            started=admission.started,
            device=self.engine.device,
            active=registry.active,
            taken=taken,
            capacity=admission.capacity,
            open=admission.admits(taken, registry.missed_share),
            room=self.load().room,
            busy=round(self._occupancy.busy_share(), 1),
            unready=self._relay.unproven if self._relay is not None else "",
        )

    def load(self) -> Load:
        """How full the pod is, and whether it has room."""
        registry, admission = self.registry, self.registry.admission
        taken, fill_share = len(registry.sessions), self.settings.placement_fill_percent / 100
        measured = Measured(
            self._occupancy.busy_share(),
            registry.usual_missed_share() if taken else 0.0,
            self._watchdog.recent_lag_seconds(),
            registry.unmeasured,
        )
        return Load(
            self.settings.admin_address(self.admin.port),
            taken,
            admission.capacity,
            draining=admission.draining or not admission.started,
            room=has_room(taken, admission.capacity, fill_share, measured),
            busy=measured.busy_share,
        )

    def _own_engine(self) -> Engine:
        settings = self.settings
        if self._device:
            hello = hello_for(LIVE_SLOTS, MAXIMUM_PIXELS)
            return RemoteEngine(
                self._device, hello, lambda: self._on_cpu(_stages(settings)), self.metrics.device_fallback
            )
        return build_engine(
            _stages(settings),
            settings.effective_device,
            service_time_seconds=settings.service_time_seconds,
            on_fallback=self.metrics.device_fallback,
        )

    @property
    def _device(self) -> str | None:
        return self._part.device if self._part is not None else None

    def _servers(self) -> tuple[HttpServer, HttpServer]:
        """For admin and http."""
        settings, part = self.settings, self._part
        if part is not None:
            return HttpServer(part.admin), HttpServer(part.http)
        admin = HttpServer(listen(settings.address, settings.admin_port, "MEDIAPOD_ADMIN_PORT"))
        return admin, HttpServer(listen(settings.address, settings.http_port, "MEDIAPOD_HTTP_PORT"))

    def _http_app(self, signalling: Signalling) -> FastAPI:
        settings = self.settings
        origins, behind_front = settings.allowed_origins, self._part is not None
        return http_app(signalling, self._processing(), self, origins, settings.pipeline, behind_front=behind_front)

    def _make_peer(self, ledger: FrameLedger, on_state: Callable[[str], None]) -> Peer:
        return Peer(self._video(ledger, self._policy), self._media, on_state)

    def _make_publisher(self, ledger: FrameLedger, on_state: Callable[[str], None]) -> PublishingPeer:
        # Never forwarded: a viewer who joins needs a keyframe at once. Our encoder gives one, a publisher may not.
        policy = replace(self._policy, forward_unchanged=False)
        return PublishingPeer(self._video(ledger, policy), self._media, on_state)

    def _video(self, ledger: FrameLedger, policy: FramePolicy) -> VideoPath:
        return VideoPath(ledger, self.engine, policy, self._encode_pool)

    @property
    def _policy(self) -> FramePolicy:
        settings = self.settings
        deadline_seconds = settings.frame_deadline_milliseconds / 1000
        unchanged = self.engine.changes_nothing if isinstance(self.engine, RemoteEngine) else self._unchanged
        forward, late = settings.forward_unchanged and unchanged, LatePolicy(settings.late_policy)
        return FramePolicy(deadline_seconds, late, forward, sees_motion(settings))

    @property
    def _media(self) -> MediaAddress:
        settings = self.settings
        advertised = tuple(settings.advertised_addresses)
        return MediaAddress(settings.address, settings.media_ports, advertised, self._relay)

    def _signalling(self) -> Signalling:
        return Signalling(
            registry=self.registry,
            metrics=self.metrics,
            offers=TokenBucket(OFFERS_PER_SECOND, OFFERS_AT_ONCE),
            session_requests=TokenBucket(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE),
            access=_access(self.settings),
            turn=_turn(self.settings),
            address=self._media,
            publish=self._make_publisher,
            owner=self._part.owner if self._part is not None else self.placement.owner,
            placement=self.placement,
            has_room=lambda: self.load().packs,
        )

    def _processing(self) -> Processing:
        settings = self.settings
        return Processing(
            processor=self._requests,
            simulation=self.simulation,
            access=_access(settings),
            pipeline=_stages(settings),
            maximum_bytes=settings.process_maximum_bytes,
            maximum_pixels=settings.process_maximum_pixels,
        )

    def _request_engine(self, stages: Sequence[StageSpec]) -> Engine:
        """An engine for requests, on the GPU where the live frames are on one."""
        if self.engine.device != "cuda":
            return self._on_cpu(stages, background=True)
        if self._device:
            hello = hello_for(REQUEST_SLOTS, self.settings.process_maximum_pixels, stages)
            return RemoteEngine(
                self._device, hello, lambda: self._on_cpu(stages, background=True), self.metrics.device_fallback
            )
        return build_engine(stages, "GPU", on_fallback=self.metrics.device_fallback, background=True)

    @staticmethod
    def _on_cpu(stages: Sequence[StageSpec], *, background: bool = False) -> Engine:
        return build_engine(stages, "CPU", background=background)

    def _publish_metrics(self) -> None:
        registry, gauge = self.registry, self.metrics.gauge
        gauge("mediapod_sessions", "Connected sessions.", lambda: registry.active)
        gauge(
            "mediapod_sessions_pending", "Sessions that hold a place and are not connected.", lambda: registry.pending
        )
        gauge("mediapod_sessions_capacity", "Sessions that are let in.", lambda: registry.admission.capacity)
        gauge("mediapod_draining", "1 while no new sessions are taken.", lambda: registry.admission.draining)
        gauge("app_webrtc_connections_active", "Connected sessions.", lambda: registry.active)
        self.metrics.device_busy(self.engine.busy_seconds)


def _changes_nothing(settings: Settings) -> bool:
    """Whether pictures leave as they came, so that nobody need decode them. A simulated device always has work to do:
    its time is what is simulated. Raises InvalidStages.
    """
    return settings.effective_device != SIMULATED_DEVICE and changes_nothing(build_stages(_stages(settings)))


def sees_motion(settings: Settings) -> bool:
    """Whether a stage needs to know where the picture moves."""
    return any(stage.effect in EFFECTS and EFFECTS[stage.effect].sees_motion for stage in settings.stages)


def _headroom(settings: Settings) -> Headroom:
    return Headroom(
        settings.admission_loop_lag_milliseconds / 1000 or None, settings.admission_missed_percent / 100 or None
    )


def _stages(settings: Settings) -> list[StageSpec]:
    return [StageSpec(stage.name, stage.effect, stage.parameters) for stage in settings.stages]


def _access(settings: Settings) -> Access:
    token, key = (value.get_secret_value() if value else None for value in (settings.token, settings.jwt_key))
    return access_for(token, key, settings.jwt_audience)


def _turn(settings: Settings) -> TurnServers:
    secret, password = (
        value.get_secret_value() if value else "" for value in (settings.turn_secret, settings.turn_password)
    )
    lifetime_seconds = settings.turn_lifetime_seconds
    return TurnServers(tuple(settings.turn_uris), secret, lifetime_seconds, settings.turn_username, password)


def _relay(settings: Settings) -> Relay | None:
    return Relay(_turn(settings), settings.address) if settings.relay else None


def _limits(settings: Settings) -> Limits:
    return Limits(settings.connect_seconds, settings.idle_seconds, settings.maximum_seconds)
