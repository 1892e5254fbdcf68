"""The simulated device: serial, with a fixed service time and no CPU use of its own.

It gives a pod a real capacity (1 / service time frames a second) on a machine without a GPU. The picture is really
changed, by the CPU form of the effects; only the time that a device would take is made up, so everything this
touches says "cuda-simulated".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from mediapod.engine.interface import Clock, DeadlineExceeded, Engine, Processed
from mediapod.frames.i420 import I420Frame

Sleep = Callable[[float], Awaitable[None]]


class SerialSlots:
    """The timetable of a device that works on one frame at a time, first come first served. Pure: time is an argument.

    A slot begins where the last one ends, not when somebody wakes up, so late timers never cost capacity.
    """

    def __init__(self, service_time_seconds: float) -> None:
        if not service_time_seconds > 0:
            raise ValueError(f"service_time_seconds is {service_time_seconds}; give a time above 0")
        self._service_time_seconds = service_time_seconds
        self._free_at = float("-inf")
        self._reserved_seconds = 0.0

    def reserve(self, now: float, deadline: float) -> tuple[float, float]:
        """Return (start, end) of the next slot; raise DeadlineExceeded, and reserve nothing, if it ends too late."""
        start = max(now, self._free_at)
        end = start + self._service_time_seconds
        if end > deadline:
            raise DeadlineExceeded(
                f"the device would finish {end - deadline:.3f} s late, after {start - now:.3f} s of queue"
            )
        self._free_at = end
        self._reserved_seconds += self._service_time_seconds
        return start, end

    def busy_seconds(self, now: float) -> float:
        """Return the seconds worked until `now`: what was reserved, less what still lies ahead."""
        return self._reserved_seconds - max(0.0, self._free_at - now)


class SimulatedEngine:
    """Puts the timetable of a serial device around an engine that does the real work.

    A frame whose task is cancelled keeps its slot: a device does not take back what was handed to it.
    """

    device = "cuda-simulated"

    def __init__(
        self,
        inner: Engine,
        service_time_seconds: float,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._slots = SerialSlots(service_time_seconds)
        self._clock = clock
        self._sleep = sleep

    async def start(self) -> None:
        """Start the engine that does the work."""
        await self._inner.start()

    async def stop(self) -> None:
        """Stop the engine that does the work."""
        await self._inner.stop()

    async def process(self, frame: I420Frame, deadline: float) -> Processed:
        """See Engine.process. The result is handed out when its slot ends, later only if the real work took longer."""
        arrived = self._clock()
        start, end = self._slots.reserve(arrived, deadline)
        done = await self._inner.process(frame, deadline)
        await self._sleep(max(0.0, end - self._clock()))
        return replace(done, device=self.device, effect_seconds=self._clock() - start, queue_seconds=start - arrived)

    def busy_seconds(self) -> Mapping[str, float]:
        """Return the time that the simulated device was occupied; the CPU's share of it is not a device's."""
        return {self.device: self._slots.busy_seconds(self._clock())}
