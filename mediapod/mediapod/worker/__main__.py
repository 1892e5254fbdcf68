"""`python -m mediapod.worker ORDERS`: started by the front, never by hand."""

from __future__ import annotations

import asyncio
import os
import sys

from mediapod.ipc.orders import Orders
from mediapod.ipc.tether import die_with


def main() -> int:
    """Run a media worker; returns the exit code."""
    orders = Orders.model_validate_json(sys.argv[1])
    die_with(orders.parent)
    if orders.cpu is not None:
        os.sched_setaffinity(0, {orders.cpu})
    # Imported here: it takes a second in which the front may end.
    from mediapod.run import run, serve
    from mediapod.settings import Settings
    from mediapod.worker.worker import Worker

    async def served(settings: Settings, stopping: asyncio.Event) -> int:
        return await serve(lambda: Worker(settings, orders, stopping), stopping)

    return run(served, process=orders.name)


if __name__ == "__main__":
    from mediapod.run import leave

    leave(main())
