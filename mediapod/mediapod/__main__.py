"""`python -m mediapod`: reads the environment, serves until SIGTERM, drains, exits."""

from __future__ import annotations

import asyncio

from mediapod.front.shares import shares
from mediapod.run import leave, run, serve
from mediapod.settings import Settings


def main() -> int:
    """Run a mediapod; returns the exit code: 0 after SIGTERM, 1 when it could not run, 2 for a wrong setting."""
    return run(_serve)


async def _serve(settings: Settings, stopping: asyncio.Event) -> int:
    # Imported here: a front needs none of the media libraries, which take a second and 50 MB.
    if len(shares(settings)) > 1:
        from mediapod.front.front import Front

        return await serve(lambda: Front(settings), stopping)
    from mediapod.whole import build

    return await serve(lambda: build(settings), stopping)


if __name__ == "__main__":
    leave(main())
