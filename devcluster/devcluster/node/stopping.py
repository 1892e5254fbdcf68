"""The wish that a pod ends, with its deadline."""

import asyncio
import contextlib
import time


class StopSignal:
    """Set once; a later request can only bring the deadline forward. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._deadline = float("inf")

    def request(self, grace_seconds: float) -> None:
        """Ends the pod within ``grace_seconds`` from now."""
        self._deadline = min(self._deadline, time.monotonic() + grace_seconds)
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether the pod has to end."""
        return self._event.is_set()

    def remaining_seconds(self) -> float:
        """Time until the deadline, not below 0."""
        return max(0.0, self._deadline - time.monotonic())

    async def wait(self, timeout_seconds: float | None = None) -> bool:
        """Waits for the request, at most for ``timeout_seconds``. Returns whether it has come."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout_seconds)
        return self.requested
