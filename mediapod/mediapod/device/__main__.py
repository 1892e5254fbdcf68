"""`python -m mediapod.device ORDERS`: started by the front, never by hand."""

from __future__ import annotations

import asyncio
import sys

from mediapod.ipc.orders import Orders
from mediapod.ipc.tether import die_with


def main() -> int:
    """Run the device process; returns the exit code."""
    orders = Orders.model_validate_json(sys.argv[1])
    die_with(orders.parent)
    # Imported here: torch takes seconds in which the front may end.
    from mediapod.device.process import DeviceProcess
    from mediapod.run import run, serve
    from mediapod.settings import Settings

    async def served(settings: Settings, stopping: asyncio.Event) -> int:
        return await serve(lambda: DeviceProcess(settings, orders, stopping), stopping)

    return run(served, process=orders.name)


if __name__ == "__main__":
    from mediapod.run import leave

    leave(main())
