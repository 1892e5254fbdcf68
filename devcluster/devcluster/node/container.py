"""The life of one container: starts, probes, ends and restarts."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog

from devcluster.node.api import ApiError
from devcluster.node.backoff import RestartBackOff, restarts
from devcluster.node.checks import CheckTarget, check_of
from devcluster.node.container_process import ContainerProcess, StartError
from devcluster.node.container_state import ContainerState, Terminated, Waiting
from devcluster.node.context import Changed, NodeContext
from devcluster.node.downward import FieldError, PodFacts
from devcluster.node.environment import Contents, MissingReferenceError, referenced_objects, text_content
from devcluster.node.images import Program, repository
from devcluster.node.json_types import Json
from devcluster.node.launch.supervisor import START_FAILED_EXIT_CODE, Launch
from devcluster.node.launch_plan import plan_launch
from devcluster.node.pod_log import PodLog
from devcluster.node.probe_state import ProbeKind, ProbeTiming
from devcluster.node.probing import ContainerProbes, Probe
from devcluster.node.stopping import StopSignal
from devcluster.node.volumes import PodVolumes

_log = structlog.get_logger(__name__)
_CONFIG_RETRY_SECONDS = 5.0
_GRACE_AFTER_PRE_STOP_SECONDS = (
    2.0  # the kubelet leaves this much after a preStop hook that took all of the grace period
)


class Container:
    """Runs one container of a pod until it is done or told to stop. ``state`` always says where it is."""

    def __init__(
        self,
        spec: Json,
        state: ContainerState,
        facts: Callable[[], PodFacts],
        context: NodeContext,
        volumes: PodVolumes,
        folder: Path,
        stop: StopSignal,
        changed: Changed,
        *,
        restart_policy: str,
    ) -> None:
        self.spec, self.state = spec, state
        self._facts, self._context, self._volumes, self._folder = facts, context, volumes, folder
        self._stop, self._changed, self._restart_policy = stop, changed, restart_policy
        self._backoff = RestartBackOff(context.backoff_initial_seconds, context.backoff_limit_seconds)
        self._log_file = PodLog(folder / f"{spec['name']}.log")
        self._log = _log.bind(pod=facts().pod["metadata"]["name"], container=spec["name"])

    async def run(self) -> None:
        """Returns when the container has ended for good (its state is final then) or was told to stop."""
        program = self._context.images.get(repository(self.spec["image"]))
        if program is None:
            await self._refuse()
        while program is not None and not self.state.final and not self._stop.requested:
            await self._run_once(program)
            if isinstance(self.state.state, Terminated):  # else it was told to stop before it was started
                await self._after_end(self.state.state.exit_code)
        self._changed()

    async def _after_end(self, exit_code: int) -> None:
        if not restarts(self._restart_policy, exit_code):
            self.state.final = True
        elif not self._stop.requested:
            await self._wait_for_restart()

    async def _refuse(self) -> None:
        message = (
            f'Image "{self.spec["image"]}" is not in the image table of this process node of the local cluster; '
            f"known images: {', '.join(sorted(self._context.images)) or 'none'}"
        )
        self.state.state = Waiting("ImageNotRunnableHere", message)
        self._event("Failed", message, warning=True)
        self._changed()
        await self._stop.wait()

    async def _run_once(self, program: Program) -> None:
        launch = await self._prepare(program)
        if launch is None:
            return
        launch_file = self._folder / f"{self.spec['name']}.launch.json"
        try:
            process = await ContainerProcess.start(launch, launch_file, self._log_file)
        except StartError as error:
            self._start_failed(str(error))
            return
        self.state.begin(f"process://{process.pid}-{self.state.restart_count}", _now())
        self._event("Started", f"Started container {self.spec['name']} as process {process.pid}")
        self._log.info("container started", pid=process.pid, restart_count=self.state.restart_count)
        self._changed()
        try:
            code = await self._supervise(process)
        except BaseException:
            process.abandon()
            raise
        self.state.end(code, _now())
        self._log.info("container ended", exit_code=code)
        self._changed()

    def _start_failed(self, message: str) -> None:
        self._event("Failed", f"Error: {message}", warning=True)
        self.state.end(START_FAILED_EXIT_CODE, _now(), reason="StartError", message=message)
        self._changed()

    async def _prepare(self, program: Program) -> Launch | None:
        """Waits until everything that the container refers to exists; None when told to stop before that."""
        while not self._stop.requested:
            facts = self._facts()
            try:
                contents = await self._contents(facts)
                return plan_launch(self.spec, program, facts, contents, self._volumes, self._folder, self._context)
            except (MissingReferenceError, FieldError, ValueError, OSError, ApiError) as error:
                self._config_error(str(error))
            await self._stop.wait(_CONFIG_RETRY_SECONDS)
        return None

    def _config_error(self, message: str) -> None:
        waiting = Waiting("CreateContainerConfigError", message)
        if self.state.state != waiting:
            self.state.wait_for_restart(waiting)
            self._event("Failed", f"Error: {message}", warning=True)
            self._changed()

    async def _contents(self, facts: PodFacts) -> Contents:
        keys = referenced_objects(self.spec)
        found = await self._context.sources.objects(facts.pod["metadata"]["namespace"], keys)
        return {key: None if item is None else text_content(key.kind, item) for key, item in found.items()}

    async def _supervise(self, process: ContainerProcess) -> int:
        """Probes until the program ends, or ends it. Returns its exit code."""
        probes = self._probes(process)
        probing = asyncio.create_task(probes.run())
        ended = asyncio.create_task(process.wait())
        waits = [asyncio.create_task(self._stop.wait()), asyncio.create_task(probes.unhealthy.wait())]
        try:
            await asyncio.wait({ended, *waits}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                probes.stop_killing()
                await self._end(process, ended, unhealthy=not self._stop.requested)
            return await ended
        finally:
            for task in (probing, *waits, ended):
                task.cancel()
            await asyncio.gather(probing, *waits, ended, return_exceptions=True)

    def _target(self, process: ContainerProcess) -> CheckTarget:
        return CheckTarget(self.spec, process, self._facts().pod_ip, self._context.http)

    def _probes(self, process: ContainerProcess) -> ContainerProbes:
        target = self._target(process)
        probes = {
            kind: Probe(check_of(handler, target), ProbeTiming.of(handler))
            for kind in ProbeKind
            if (handler := self.spec.get(f"{kind}Probe"))
        }
        return ContainerProbes(probes, self.state, self._changed, self._probe_failed)

    def _probe_failed(self, kind: ProbeKind, message: str) -> None:
        self._event("Unhealthy", f"{kind.capitalize()} probe failed: {message}", warning=True)

    def _grace_seconds(self) -> float:
        return float(self._facts().pod["spec"].get("terminationGracePeriodSeconds", 30))

    async def _end(self, process: ContainerProcess, ended: "asyncio.Task[int]", *, unhealthy: bool) -> None:
        """preStop, SIGTERM, the grace period, SIGKILL."""
        what = "failed its probe and will be restarted" if unhealthy else "is being stopped"
        self._event("Killing", f"Container {self.spec['name']} {what}")
        own_deadline = time.monotonic() + self._grace_seconds() if unhealthy else float("inf")

        def remaining() -> float:
            return min(own_deadline - time.monotonic(), self._stop.remaining_seconds())

        extra = time.monotonic()
        if handler := (self.spec.get("lifecycle") or {}).get("preStop"):
            await self._pre_stop(handler, process, remaining())
            extra = time.monotonic() + _GRACE_AFTER_PRE_STOP_SECONDS
        process.terminate()
        while not ended.done() and (remaining() > 0 or time.monotonic() < extra):
            wait_seconds = max(remaining(), extra - time.monotonic())
            await asyncio.wait({ended}, timeout=min(wait_seconds, 1.0))  # the deadline may be brought forward
        if not ended.done():
            await process.kill()

    async def _pre_stop(self, handler: Json, process: ContainerProcess, timeout_seconds: float) -> None:
        if timeout_seconds <= 0:
            return
        result = await check_of(handler, self._target(process))(timeout_seconds)
        if not result.succeeded:
            self._event("FailedPreStopHook", f"PreStopHook failed: {result.message}", warning=True)

    async def _wait_for_restart(self) -> None:
        wait_seconds = self._backoff.wait_seconds(time.monotonic())
        name, pod = self.spec["name"], self._facts().pod["metadata"]["name"]
        self.state.count_restart()
        if wait_seconds > 0:
            message = f"back-off {wait_seconds:g}s restarting failed container={name} pod={pod}"
            self.state.wait_for_restart(Waiting("CrashLoopBackOff", message))
            self._event("BackOff", f"Back-off restarting failed container {name} in pod {pod}", warning=True)
            self._changed()
            await self._stop.wait(wait_seconds)

    def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        with contextlib.suppress(KeyError):
            self._context.events.record("Pod", self._facts().pod, reason, message, warning=warning)


def _now() -> datetime:
    return datetime.now(UTC)
