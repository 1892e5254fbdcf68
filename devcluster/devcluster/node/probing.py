"""The probes of one run of a container."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from devcluster.node.checks import Check
from devcluster.node.container_state import ContainerState
from devcluster.node.probe_state import ProbeKind, ProbeState, ProbeTiming, next_tick

Report = Callable[[ProbeKind, str], None]
"""Told about every failed probe."""


@dataclass(frozen=True)
class Probe:
    """What to check, and when."""

    check: Check
    timing: ProbeTiming


class ContainerProbes:
    """Sets ``container.started`` and ``container.ready``, and ``unhealthy`` once the container has to be restarted."""

    def __init__(
        self,
        probes: dict[ProbeKind, Probe],
        container: ContainerState,
        changed: Callable[[], None],
        report: Report,
    ) -> None:
        self.unhealthy = asyncio.Event()
        self._probes, self._container = probes, container
        self._changed, self._report = changed, report
        self._begun = time.monotonic()
        self._started = asyncio.Event()

    async def run(self) -> None:
        """Probes until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in self._probes:
                group.create_task(self._run_one(kind))
            if ProbeKind.STARTUP not in self._probes:
                self._set_started()

    def stop_killing(self) -> None:
        """From now on only readiness counts: the container is being ended anyway."""
        self._probes = {kind: probe for kind, probe in self._probes.items() if kind is ProbeKind.READINESS}

    async def _run_one(self, kind: ProbeKind) -> None:
        probe = self._probes[kind]
        state = ProbeState(kind, probe.timing)
        if kind is not ProbeKind.STARTUP:
            await self._started.wait()
        if kind is ProbeKind.READINESS and ProbeKind.STARTUP in self._probes:
            await self._probe_if_due(probe, state)  # at once after startup, as the kubelet does
        while True:
            await asyncio.sleep(next_tick(self._running_seconds(), probe.timing) - self._running_seconds())
            if kind not in self._probes:
                return
            await self._probe_if_due(probe, state)
            if kind is ProbeKind.STARTUP and state.passing:
                return

    def _running_seconds(self) -> float:
        return time.monotonic() - self._begun

    async def _probe_if_due(self, probe: Probe, state: ProbeState) -> None:
        if not state.due(self._running_seconds(), started=self._container.started):
            return
        result = await probe.check(probe.timing.timeout_seconds)
        if not result.succeeded and state.kind in self._probes:
            self._report(state.kind, result.message)
        if state.observe(result.succeeded):
            self._apply(state)

    def _apply(self, state: ProbeState) -> None:
        if state.kind is ProbeKind.READINESS:
            self._container.ready = bool(state.passing)
            self._changed()
        elif not state.passing:
            if state.kind in self._probes:
                self.unhealthy.set()
        elif state.kind is ProbeKind.STARTUP:
            self._set_started()

    def _set_started(self) -> None:
        self._container.started = True
        if ProbeKind.READINESS not in self._probes:
            self._container.ready = True
        self._started.set()
        self._changed()
