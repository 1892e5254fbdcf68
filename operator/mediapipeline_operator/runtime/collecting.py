"""When Python looks for reference cycles: after a scaling tick rather than in it."""

from __future__ import annotations

import asyncio
import gc

LONGEST_SECONDS = 5.0  # of one pause; what a longer tick leaves behind is not left to pile up


class Collecting:
    """A search for cycles among the objects of thousands of pipelines stops the process for 0.1 to 1 s. `pause` puts
    those that become due off until `resume`; how many there are stays as it is.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        """Until `resume`, or for LONGEST_SECONDS. Must be called on the event loop."""
        self.resume()
        gc.disable()
        self._timer = asyncio.get_running_loop().call_later(LONGEST_SECONDS, self.resume)

    def resume(self) -> None:
        """What is due is looked for now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            gc.enable()
