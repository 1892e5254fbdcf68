"""The batching engine around a device that the tests control, and around torch itself on the CPU."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from mediapod.engine import DeadlineExceeded, EffectError, StageSpec
from mediapod.engine.cpu import CpuEngine
from mediapod.engine.fallback import DeviceError
from mediapod.engine.stages import Stage, build_stages, grey_frame
from mediapod.engine.torch import TorchEngine
from mediapod.frames.i420 import I420Frame

WAIT_SECONDS = 120
SMALL, LARGE = grey_frame(8, 8), grey_frame(16, 8)


class ManualClock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class GatedDevice:
    """Holds each batch until the test lets it go; the warm-up passes."""

    device = "test"

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.batches: list[list[I420Frame]] = []
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.failure: Exception | None = None

    def run(self, stages: Sequence[Stage], frames: Sequence[I420Frame]) -> list[I420Frame]:
        if frames[0].width == 64:
            return list(frames)
        self.batches.append(list(frames))
        self.begun.release()
        assert self.go.acquire(timeout=WAIT_SECONDS)
        if self.failure is not None:
            raise self.failure
        return list(frames)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=WAIT_SECONDS)

    def let_go(self, batches: int = 1) -> None:
        self.go.release(batches)


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.device = GatedDevice(self.clock)
        self.reasons: list[str] = []
        self.engine = TorchEngine(
            build_stages([StageSpec("soften", "GaussianBlur", {})]),
            "test",
            on_fallback=self.reasons.append,
            runner=self.device,
            clock=self.clock,
        )

    def offer(self, frame: I420Frame, budget: float = 5.0) -> asyncio.Task:
        return asyncio.create_task(self.engine.process(frame, self.clock.now + budget))


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr("mediapod.engine.torch._HANG_SECONDS", WAIT_SECONDS)  # counted in real time, unlike the rest
    rig = Rig()
    await rig.engine.start()
    yield rig
    rig.device.let_go(100)
    await rig.engine.stop()


async def test_an_idle_device_starts_at_once_and_what_queues_meanwhile_goes_together(rig: Rig) -> None:
    first = rig.offer(SMALL)
    await rig.device.has_begun()
    others = [rig.offer(SMALL) for _ in range(20)]
    await asyncio.sleep(0)
    rig.device.let_go(3)
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in rig.device.batches] == [1, 16, 4]


async def test_sizes_do_not_share_a_batch_and_none_starves(rig: Rig) -> None:
    first = rig.offer(SMALL)
    await rig.device.has_begun()
    others = [rig.offer(SMALL, 5.0), rig.offer(LARGE, 4.0), rig.offer(SMALL, 4.5), rig.offer(LARGE, 4.8)]
    await asyncio.sleep(0)
    rig.device.let_go(3)
    await asyncio.gather(first, *others)
    assert [{frame.width for frame in batch} for batch in rig.device.batches] == [{8}, {16}, {8}]


async def test_a_frame_whose_deadline_passed_while_it_waited_is_not_launched(rig: Rig) -> None:
    first = rig.offer(SMALL)
    await rig.device.has_begun()
    late, in_time = rig.offer(SMALL, 1.0), rig.offer(SMALL, 9.0)
    await asyncio.sleep(0)
    rig.clock.now += 2
    rig.device.let_go(2)
    await asyncio.gather(first, in_time)
    with pytest.raises(DeadlineExceeded):
        await late
    assert [len(batch) for batch in rig.device.batches] == [1, 1]


async def test_times_are_those_of_the_batch(rig: Rig) -> None:
    first = rig.offer(SMALL)
    await rig.device.has_begun()
    second = rig.offer(SMALL)
    await asyncio.sleep(0)
    rig.clock.now += 0.25
    rig.device.let_go()
    await rig.device.has_begun()
    rig.clock.now += 0.5
    rig.device.let_go()
    one, two = await asyncio.gather(first, second)
    assert (one.queue_seconds, one.effect_seconds) == (0.0, 0.25)
    assert (two.queue_seconds, two.effect_seconds) == (0.25, 0.5)
    assert rig.engine.busy_seconds() == {"test": 0.75}


async def test_a_session_that_ends_takes_its_waiting_frame_along(rig: Rig) -> None:
    first = rig.offer(SMALL)
    await rig.device.has_begun()
    gone, stays = rig.offer(SMALL), rig.offer(SMALL)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    rig.device.let_go(2)
    await asyncio.gather(first, stays)
    assert [len(batch) for batch in rig.device.batches] == [1, 1]


async def test_a_device_failure_is_counted_and_the_frame_comes_from_the_cpu(rig: Rig) -> None:
    rig.device.failure = DeviceError("cuda_error", None)
    rig.device.let_go()
    done = await rig.offer(SMALL)
    assert done.device == "cpu"
    assert rig.reasons == ["cuda_error"]


async def test_even_a_failure_of_the_runner_itself_ends_only_its_frames(rig: Rig) -> None:
    rig.device.failure = TypeError("not foreseen")
    rig.device.let_go()
    with pytest.raises(EffectError, match="not foreseen"):
        await rig.offer(SMALL)
    rig.device.failure = None
    rig.device.let_go()
    await rig.offer(SMALL)


async def test_stopping_refuses_what_waits_and_finishes_what_runs(rig: Rig) -> None:
    first = rig.offer(SMALL)
    await rig.device.has_begun()
    waiting = rig.offer(SMALL)
    await asyncio.sleep(0)
    stopping = asyncio.create_task(rig.engine.stop())
    with pytest.raises(DeadlineExceeded):
        await waiting
    rig.device.let_go()
    await first
    await stopping
    with pytest.raises(DeadlineExceeded):
        await rig.engine.process(SMALL, rig.clock.now + 5)


STAGES = [
    StageSpec("soften", "GaussianBlur", {"radius": 3}),
    StageSpec("move", "Translate", {"x": -5, "y": 3, "fill": "#20c040"}),
    StageSpec("grade", "ColorCorrection", {"hue": 40, "saturation": 1.3, "contrast": 0.9}),
]


async def test_torch_itself_gives_the_pictures_of_the_cpu_engine() -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'mediapod[torch]'")
    random = np.random.default_rng(2)
    shapes = [((35, 61), (18, 31), (18, 31)), ((48, 64), (24, 32), (24, 32))]
    frames = [
        I420Frame(*(random.integers(16, 236, shape, dtype=np.uint8) for shape in shapes[index % 2]))
        for index in range(12)
    ]
    reasons: list[str] = []
    pictures = []
    for engine in (
        CpuEngine(build_stages(STAGES), 1),
        TorchEngine(build_stages(STAGES), "cpu", on_fallback=reasons.append),
    ):
        await engine.start()
        pictures.append(await asyncio.gather(*(engine.process(frame, float("inf")) for frame in frames)))
        await engine.stop()
    assert reasons == []
    for one, other in zip(*pictures, strict=True):
        for plane in ("y", "u", "v"):
            a, b = getattr(one.frame, plane).astype(int), getattr(other.frame, plane).astype(int)
            # Three stages, each rounded on the CPU alone: half a level each, the colour gain of 1.3 on top.
            assert np.abs(a - b).max() <= 3


def test_device_failures_are_told_from_an_effects_own() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mediapod[torch]'")
    from mediapod.engine.torch_runner import fallback_reason

    assert fallback_reason(torch.OutOfMemoryError("CUDA out of memory")) == "out_of_memory"
    assert fallback_reason(RuntimeError("CUDA error: an illegal memory access was encountered")) == "cuda_error"
    assert fallback_reason(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")) == "cuda_error"
    assert fallback_reason(RuntimeError("The size of tensor a must match")) is None
    assert fallback_reason(ValueError("CUDA")) is None
