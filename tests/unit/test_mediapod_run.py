"""The frame around every process of the mediapod."""

import asyncio
import gc

from mediapod.run import serve


class QuietPod:
    async def start(self) -> None: ...

    async def drain(self) -> None: ...

    async def stop(self) -> None: ...


async def test_what_is_there_at_the_end_of_the_start_is_not_looked_through_for_garbage_again():
    before, stopping = gc.get_freeze_count(), asyncio.Event()
    serving = asyncio.ensure_future(serve(QuietPod, stopping))
    try:
        async with asyncio.timeout(60):
            while gc.get_freeze_count() <= before + 10_000:  # noqa: ASYNC110  Python has no event for it
                await asyncio.sleep(0.01)
    finally:
        gc.unfreeze()
        stopping.set()
    assert await asyncio.wait_for(serving, 60) == 0
