"""Time for people (UTC, in status) and time for time-outs (monotonic, never set back)."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The real clock. Tests put their own in its place."""

    def now(self) -> datetime:
        """The current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()
