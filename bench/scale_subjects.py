"""The two operators that are compared, each seen through the same few questions."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import aiohttp
from scale_process import Measured

from devcluster.controlplane.addresses import free_port

FIRST_PASSES = "mediapipeline_operator_first_passes"
TICKS = "mediapipeline_autoscaler_tick_seconds"
BATCHES = "mediapipeline_autoscaler_batch_seconds"
_TIMEOUT = aiohttp.ClientTimeout(total=20.0)


@dataclass(frozen=True)
class Place:
    """Where a process runs, and with what."""

    folder: Path
    number: int
    kubeconfig: Path
    namespace: str
    prometheus: str
    tick_seconds: float

    def numbered(self, number: int) -> Place:
        """The same for the process with this number."""
        return replace(self, number=number)


class Subject(ABC):
    """One process."""

    name: str  # as the rows call it

    def __init__(self, process: Measured) -> None:
        self.process = process

    async def stop(self) -> None:
        """SIGTERM, and waits while the fake Prometheus goes on."""
        await asyncio.to_thread(self.process.stop)

    async def kill(self) -> None:
        """SIGKILL, and waits."""
        await asyncio.to_thread(self.process.kill)

    @abstractmethod
    async def handled(self) -> int:
        """Pipelines that had a pass since the process started."""


S = TypeVar("S", bound=Subject)


class Ours(Subject):
    """The operator of this repository."""

    name = "ours"

    def __init__(self, place: Place) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        flags = (
            f"--health-port={port}",
            f"--lease-namespace={place.namespace}",
            f"--prometheus-url={place.prometheus}",
            f"--tick-seconds={place.tick_seconds}",
            "--log-level=INFO",
        )
        environment = {"KUBECONFIG": str(place.kubeconfig), "POD_IP": "127.0.0.1"}
        command = [sys.executable, "-m", "mediapipeline_operator", *flags]
        super().__init__(Measured(command, environment, place.folder / f"operator-{place.number}.log"))

    async def handled(self) -> int:
        return int(await self.metric(FIRST_PASSES))

    async def ready(self) -> bool:
        """Whether its caches of children are filled, so that it may take over."""
        self.process.check()
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as http, http.get(f"{self._url}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def metric(self, name: str, suffix: str = "") -> float:
        """A metric without labels; 0 while the process does not answer."""
        self.process.check()
        url, query = f"{self._url}/metrics", {"name[]": name + suffix}
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as http, http.get(url, params=query) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0.0
        match = re.search(rf"^{name}{suffix} (\S+)$", text, re.MULTILINE)
        return float(match[1]) if match else 0.0


class Baseline(Subject):
    """The plain kopf operator."""

    name = "plain kopf"

    def __init__(self, place: Place) -> None:
        self._progress = place.folder / f"kopf-{place.number}.json"
        script = Path(__file__).with_name("kopf_baseline.py")
        command = [sys.executable, "-m", "kopf", "run", "--standalone", f"--namespace={place.namespace}", "--quiet"]
        environment = {
            "KUBECONFIG": str(place.kubeconfig),
            "KOPF_BASELINE_PROGRESS": str(self._progress),
            "KOPF_BASELINE_PROMETHEUS": place.prometheus,
            "KOPF_BASELINE_TICK_SECONDS": str(place.tick_seconds),
        }
        super().__init__(Measured([*command, str(script)], environment, place.folder / f"kopf-{place.number}.log"))

    async def handled(self) -> int:
        return self.count("seen")

    def count(self, what: str) -> int:
        """A counter of its progress file."""
        self.process.check()
        try:
            return int(json.loads(self._progress.read_text()).get(what, 0))
        except (OSError, ValueError):  # not there yet, or just being written
            return 0


async def until(
    condition: Callable[[], Awaitable[bool]], what: str, seconds: float, poll_seconds: float = 0.1
) -> float:
    """Waits; returns how long, in seconds. Raises TimeoutError that names what was waited for."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not await condition():
        if loop.time() - started > seconds:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(poll_seconds)
    return loop.time() - started
