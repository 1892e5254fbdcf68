"""The processes of the pod: started in order, replaced when lost, and their metrics as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import prometheus_client
import structlog
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from mediapod.front.member import Loss, Member
from mediapod.front.merge import counted, merge
from mediapod.front.shares import Share
from mediapod.front.spawn import Command
from mediapod.front.supervisor import Supervisor
from mediapod.ipc.listener import Listener
from mediapod.observability.metrics import Metrics
from mediapod.placement.forwarding import WORKER_MARK
from mediapod.run import CannotRun
from mediapod.session.state import EndReason
from mediapod.settings import Settings

log = structlog.get_logger(__name__)

METRICS_SECONDS = 1.0  # what a process counted within this time before it crashed is lost
ON_CPU = {"MEDIAPOD_DEVICE": "CPU", "GPU_SIMULATION": "false"}


class Crew:
    """Media workers, and a device process if they share a device."""

    def __init__(self, settings: Settings, shares: Sequence[Share], pod: str, metrics: Metrics) -> None:
        self._settings, self._shares, self._pod, self._metrics = settings, shares, pod, metrics
        self._workers: list[Supervisor] = []
        self._device: Supervisor | None = None
        self._wanted_device = ""
        self._ended: list[Metric] = []
        self._simulation: bool | None = None

    async def start(self, frames: Listener) -> None:
        """Start all processes; the device process listens on `frames`. Raises CannotRun when one of them cannot run."""
        if self._settings.effective_device != "CPU":
            await self._start_device(frames)
        for share in self._shares:
            self._workers.append(self._supervise(partial(self._worker_command, share, frames), self._worker_lost))
        for supervisor in self._workers:
            await _first_ready(supervisor)

    async def stop(self) -> None:
        """End all of them, the device process last."""
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        if self._device is not None:
            await self._device.stop()

    @property
    def workers(self) -> list[Member]:
        """The media workers that are ready."""
        members = (worker.member for worker in self._workers)
        return [member for member in members if member is not None and member.started.is_set()]

    @property
    def device(self) -> str:
        """Where effects run."""
        return next((member.status.device for member in self.workers), self._wanted_device)

    @property
    def taken(self) -> int:
        """Sessions of the pod, pending ones counted."""
        return sum(member.taken for member in self.workers)

    def busy_share(self) -> float:
        """Of the device that the workers share, or of their CPUs, whichever is busier. The mean over the workers: the
        next session goes to the least loaded, which says itself whether it has room.
        """
        workers = self.workers
        cpus = sum(member.status.busy for member in workers) / len(workers) if workers else 0.0
        device = self._device.member if self._device is not None else None
        return max(cpus, device.status.busy if device is not None else 0.0)

    def owner(self, number: str) -> Member | None:
        """The worker that session URLs call `number`, None: there is none, or it is not running."""
        if not number.isdecimal() or int(number) >= len(self._workers):
            return None
        member = self._workers[int(number)].member
        return member if member in self.workers else None

    def simulate(self, on: bool) -> None:
        """Switch the simulated device of /process in all workers, also those to come."""
        self._simulation = on
        for member in self.workers:
            member.order(simulation=on)

    async def keep_metrics(self) -> None:
        """Read all metrics once a second, until cancelled: a process that crashes cannot be asked any more."""
        while True:
            await asyncio.gather(*(member.read_metrics() for member in self._members()))
            await asyncio.sleep(METRICS_SECONDS)

    async def exposition(self) -> tuple[bytes, str]:
        """The pod's metrics in Prometheus' text format, and its content type."""
        await asyncio.gather(*(member.read_metrics() for member in self._members()))
        parts = [self._metrics.registry.collect(), self._ended, *(member.metrics for member in self._members())]
        return prometheus_client.generate_latest(_Collected(merge(parts))), prometheus_client.CONTENT_TYPE_LATEST

    def _members(self) -> list[Member]:
        supervisors = [*self._workers, *([self._device] if self._device is not None else [])]
        return [supervisor.member for supervisor in supervisors if supervisor.member is not None]

    async def _start_device(self, frames: Listener) -> None:
        """Start the device process. When there is only the CPU, every worker had better use its own."""
        supervisor = self._supervise(partial(self._device_command, frames), self._device_lost)
        self._device = supervisor
        await _first_ready(supervisor)
        if supervisor.member is None:
            raise CannotRun("the device process ended as soon as it was ready", 1)
        self._wanted_device = supervisor.member.status.device
        if self._wanted_device == "cpu":
            await supervisor.member.read_metrics()  # it counted why
            self._keep(supervisor.member)
            self._device = None
            await supervisor.stop()

    def _supervise(self, command: Callable[[], Command], on_loss: Callable[[Member, Loss], None]) -> Supervisor:
        return Supervisor(command, self._settings.heartbeat_seconds, self._started, on_loss)

    def _device_command(self, frames: Listener) -> Command:
        return Command("mediapod.device", "device", frames=frames.listening.fileno(), wanted_device=self._wanted_device)

    def _worker_command(self, share: Share, frames: Listener) -> Command:
        return Command(
            "mediapod.worker",
            f"worker-{share.index}",
            owner=f"{self._pod}{WORKER_MARK}{share.index}",
            cpu=share.cpu,
            device=frames.address if self._device is not None else None,
            environment=_environment(share, {} if self._device is not None else ON_CPU),
        )

    def _started(self, member: Member) -> None:
        if self._simulation is not None:
            member.order(simulation=self._simulation)

    def _worker_lost(self, member: Member, loss: Loss) -> None:
        self._metrics.process_lost("worker", loss)
        for _ in range(member.status.taken):
            self._metrics.session_ended(EndReason.WORKER_LOST)
        if member.status.taken:
            log.error("sessions lost with their media worker", process=member.name, sessions=member.status.taken)
        self._keep(member)

    def _device_lost(self, member: Member, loss: Loss) -> None:
        self._metrics.process_lost("device", loss)
        self._keep(member)

    def _keep(self, member: Member) -> None:
        self._ended = merge([self._ended, counted(member.metrics)])


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


async def _first_ready(supervisor: Supervisor) -> None:
    """Bounded by the time that a process has to start."""
    either = [asyncio.ensure_future(event.wait()) for event in (supervisor.ready, supervisor.failed)]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in either:
            one.cancel()
    if supervisor.failed.is_set():
        raise CannotRun("", supervisor.code)  # it has said why


def _environment(share: Share, device: Mapping[str, str]) -> dict[str, str]:
    """What differs for a worker. Placement, origins and requests are the front's business."""
    return {
        "MEDIAPOD_WORKERS": "1",
        "MAX_SESSIONS_PER_POD": str(share.sessions),
        "MEDIAPOD_MEDIA_PORT_RANGE": f"{share.ports[0]}-{share.ports[1]}" if share.ports else "",
        "MEDIAPOD_PEERS": "",
        "MEDIAPOD_PLACEMENT_FILL_PERCENT": "100",  # of the pod's places the front keeps count
        "MEDIAPOD_ALLOWED_ORIGINS": "",
        **device,
    }
