"""Memory of ended sessions goes back to the system.

glibc keeps what libav frees: after four 720p sessions 50 MB stayed resident, and more with every further round, because
the next sessions' threads allocate elsewhere. malloc_trim gives it back in milliseconds, outside the interpreter lock.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading

DELAY_SECONDS = 5.0  # sessions often end together


class MemoryReturn:
    """Call `soon` when a session has ended; several calls within five seconds are one."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        self._scheduled: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Have memory returned shortly, by a thread of its own."""
        if self._trim is not None and self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_later(DELAY_SECONDS, self._start)

    def cancel(self) -> None:
        """Forget it: the process ends."""
        if self._scheduled is not None:
            self._scheduled.cancel()

    def _start(self) -> None:
        self._scheduled = None
        threading.Thread(target=self._trim, args=(0,), name="mediapod-trim", daemon=True).start()
