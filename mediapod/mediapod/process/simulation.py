"""The simulated GPU of /process: the CPU does the work, and the time is divided by a factor. Never unsaid."""

from __future__ import annotations

from dataclasses import dataclass

from mediapod.engine.simulated import SimulatedEngine


@dataclass(slots=True)
class Simulation:
    """Whether it is on, and whether users may switch it. speedup: how many times faster than the CPU it is."""

    on: bool
    switchable: bool
    speedup: float

    device = SimulatedEngine.device

    def seconds(self, measured: float) -> float:
        """What a device that is `speedup` times faster would have taken."""
        return measured / self.speedup if self.on else measured
