"""Work that gives way to live frames."""

from __future__ import annotations

import os
import threading

BACKGROUND_NICE = 15  # about a thirtieth of the CPU time of a live thread, all of it when there is no live thread


def lower_priority() -> None:
    """Give way: lowers the calling thread alone (on Linux a thread has a niceness of its own)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICE)
