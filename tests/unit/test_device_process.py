"""Pictures go to the device process and back through shared memory, one reply for each, whatever happens."""

import asyncio
import os
import socket
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from mediapod.device.connection import Service
from mediapod.device.engines import Engines
from mediapod.device.process import DeviceProcess
from mediapod.device.server import DeviceServer
from mediapod.engine import DeadlineExceeded, EffectError, InvalidStages, Processed, StageSpec, build_engine
from mediapod.engine.breaker import Breaker
from mediapod.engine.remote import FALLBACK_DEVICE_LOST, FALLBACK_DEVICE_SILENT, RemoteEngine, hello_for
from mediapod.engine.stages import build_stages
from mediapod.engine.torch import TorchEngine
from mediapod.engine.wire import Hello
from mediapod.frames.i420 import I420Frame
from mediapod.frames.ring import FrameRing, copy_into, copy_of, new_memory, picture_bytes
from mediapod.ipc.listener import listen_unseen, path_of
from mediapod.ipc.orders import Orders
from mediapod.ipc.packets import packet_pair
from mediapod.run import EXIT_FAILED, CannotRun
from mediapod.settings import Settings


def picture(width: int, height: int, seed: int = 0) -> I420Frame:
    random = np.random.default_rng(seed)
    chroma = ((height + 1) // 2, (width + 1) // 2)
    shapes = ((height, width), chroma, chroma)
    return I420Frame(*(random.integers(16, 235, shape, np.uint8) for shape in shapes))


def equal(one: I420Frame, other: I420Frame) -> bool:
    return all(np.array_equal(a, b) for a, b in zip((one.y, one.u, one.v), (other.y, other.u, other.v), strict=True))


class Inverting:
    """An engine that inverts the luma, or does what it is told to."""

    device = "cuda-simulated"

    def __init__(self) -> None:
        self.failure, self.at_once, self.most_at_once, self.stopped = None, 0, 0, False
        self.go = asyncio.Event()  # frames wait for it
        self.go.set()

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    async def process(self, frame: I420Frame, deadline: float) -> Processed:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.go.wait()
        self.at_once -= 1
        if self.failure is not None:
            raise self.failure
        return Processed(I420Frame(255 - frame.y, frame.u, frame.v), self.device, 0.25, 0.5)

    def busy_seconds(self) -> dict[str, float]:
        return {}


class Rig:
    """A device process' server in this process, and remote engines that use it."""

    def __init__(self) -> None:
        self.listener = listen_unseen(socket.SOCK_SEQPACKET)
        self.pipeline, self.others, self.fallbacks = Inverting(), [], []
        self.remotes: list[RemoteEngine] = []
        self.serving: asyncio.Task[None] | None = None

    def serve(self) -> None:
        def make(stages: list[StageSpec]) -> Inverting:
            build_engine(stages, "CPU")
            self.others.append(Inverting())
            return self.others[-1]

        self.server = DeviceServer(
            self.listener.listening.dup(), Service(Engines(self.pipeline, make), "cuda-simulated", True)
        )
        self.serving = asyncio.get_running_loop().create_task(self.server.run())

    async def crash(self) -> None:
        self.serving.cancel()
        await self.server.close()

    async def remote(self, stages=None, slots: int = 4) -> RemoteEngine:
        engine = RemoteEngine(
            path_of(self.listener.address),
            hello_for(slots, 320 * 240, stages),
            lambda: build_engine([StageSpec("grey", "Grayscale", {})], "CPU"),
            self.fallbacks.append,
        )
        self.remotes.append(engine)
        await engine.start()
        return engine


@pytest.fixture
async def rig():
    it = Rig()
    it.serve()
    yield it
    for remote in it.remotes:
        await remote.stop()
    await it.crash()
    it.listener.close()


def soon(seconds: float = 120) -> float:
    """A deadline that no machine misses, however busy it is."""
    return time.monotonic() + seconds


@pytest.mark.parametrize(("width", "height"), [(320, 240), (319, 239), (1, 1), (17, 2)])
async def test_a_picture_comes_back_changed_with_its_times_and_device(rig, width, height):
    remote, sent = await rig.remote(), picture(width, height)
    before = copy_of(sent)
    done = await remote.process(sent, soon())
    assert equal(done.frame, I420Frame(255 - sent.y, sent.u, sent.v))
    assert equal(sent, before), "what was handed in is the caller's"
    assert (done.device, done.effect_seconds, done.queue_seconds) == ("cuda-simulated", 0.25, 0.5)
    assert (remote.device, remote.changes_nothing) == ("cuda-simulated", True)


async def test_frames_of_several_workers_meet_in_one_engine(rig):
    rig.pipeline.go.clear()
    remotes = [await rig.remote() for _ in range(2)]
    sent = [picture(64, 48, seed) for seed in range(6)]
    together = asyncio.gather(*(remotes[i % 2].process(frame, soon()) for i, frame in enumerate(sent)))
    await _until(lambda: rig.pipeline.at_once == 6)
    rig.pipeline.go.set()
    done = await together
    for frame, processed in zip(sent, done, strict=True):
        assert np.array_equal(processed.frame.y, 255 - frame.y)


async def test_frames_of_several_workers_are_one_batch(rig):
    batches: list[int] = []
    go = threading.Event()
    go.set()

    class Runner:
        device = "cpu"

        def run(self, stages, frames):
            batches.append(len(frames))
            assert go.wait(60)
            return [I420Frame(255 - frame.y, frame.u, frame.v) for frame in frames]

    stages = build_stages([StageSpec("grey", "Grayscale", {})])
    engine = TorchEngine(stages, "cpu", on_fallback=rig.fallbacks.append, runner=Runner())
    await engine.start()
    go.clear()
    rig.server._service.engines._pipeline = engine
    remotes = [await rig.remote() for _ in range(2)]
    sent = [picture(64, 48, seed) for seed in range(8)]
    in_an_hour = soon(3600)  # the first batch seems to take long: no deadline is to cut the second
    together = asyncio.gather(*(remotes[i % 2].process(frame, in_an_hour) for i, frame in enumerate(sent)))
    await _until(lambda: len(engine._queue) == 7)
    go.set()
    done = await together
    assert all(np.array_equal(d.frame.y, 255 - s.y) for d, s in zip(done, sent, strict=True))
    assert batches[1:] == [1, 7], "the first went at once, what came meanwhile went together"
    await engine.stop()


async def test_more_frames_than_slots_wait_for_one(rig):
    rig.pipeline.go.clear()
    remote = await rig.remote(slots=2)
    sent = [picture(32, 16, seed) for seed in range(20)]
    together = asyncio.gather(*(remote.process(frame, soon()) for frame in sent))
    await _until(lambda: rig.pipeline.at_once == 2)
    rig.pipeline.go.set()
    done = await together
    assert all(np.array_equal(d.frame.y, 255 - s.y) for d, s in zip(done, sent, strict=True))
    assert rig.pipeline.most_at_once == 2


async def test_what_the_engine_raises_there_is_raised_here(rig):
    remote = await rig.remote()
    rig.pipeline.failure = EffectError("soften", "GaussianBlur", "no luck")
    with pytest.raises(EffectError, match=r"stage 'soften': effect GaussianBlur failed: no luck"):
        await remote.process(picture(8, 8), soon())
    rig.pipeline.failure = DeadlineExceeded("would be late")
    with pytest.raises(DeadlineExceeded, match="would be late"):
        await remote.process(picture(8, 8), soon())
    rig.pipeline.failure = ZeroDivisionError("x" * 100_000)
    with pytest.raises(EffectError, match="ZeroDivisionError"):
        await remote.process(picture(8, 8), soon())
    with pytest.raises(DeadlineExceeded, match="too large"):
        await remote.process(picture(1000, 1000), soon())
    rig.pipeline.failure = None
    assert (await remote.process(picture(8, 8), soon())).device == "cuda-simulated"


async def test_stages_of_requests_have_engines_of_their_own_as_long_as_somebody_uses_them(rig):
    blur = [StageSpec("0", "GaussianBlur", {"radius": 3})]
    first, second = await rig.remote(blur), await rig.remote(blur)
    assert len(rig.others) == 1, "equal stages share an engine"
    await first.stop()
    await second.process(picture(8, 8), soon())
    assert not rig.others[0].stopped
    await second.stop()
    await _until(lambda: rig.others[0].stopped)
    with pytest.raises(InvalidStages, match="unknown effect 'Blurr'"):
        await rig.remote([StageSpec("0", "Blurr", {})])


async def test_an_abandoned_frame_gives_its_slot_back_when_the_reply_comes(rig):
    rig.pipeline.go.clear()
    remote = await rig.remote(slots=1)
    for _ in range(3):
        waiting = asyncio.ensure_future(remote.process(picture(8, 8), soon()))
        await _until(lambda: rig.pipeline.at_once == 1)
        waiting.cancel()
        await asyncio.wait([waiting])
    rig.pipeline.go.set()
    assert (await remote.process(picture(8, 8), soon())).device == "cuda-simulated"


async def test_a_lost_device_process_is_replaced_by_the_cpu_until_it_is_back(rig):
    rig.pipeline.go.clear()
    remote = await rig.remote()
    under_way = asyncio.ensure_future(remote.process(picture(8, 8), soon()))
    await _until(lambda: rig.pipeline.at_once == 1)
    await rig.crash()
    with pytest.raises(DeadlineExceeded):  # the CPU was not ready yet
        await under_way
    await _until_cpu(remote)
    assert rig.fallbacks == [FALLBACK_DEVICE_LOST]
    rig.pipeline.go.set()
    rig.serve()
    async with asyncio.timeout(60):
        while (await remote.process(picture(8, 8), soon())).device != "cuda-simulated":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_silent_device_process_costs_one_frame_then_the_cpu_takes_over(rig, monkeypatch):
    monkeypatch.setattr("mediapod.engine.remote.SILENT_SECONDS", 0.05)
    monkeypatch.setattr("mediapod.engine.remote.Breaker", lambda: Breaker(probe_after_seconds=3600))
    remote = await rig.remote()
    rig.pipeline.go.clear()
    with pytest.raises(DeadlineExceeded, match="has not replied"):
        await remote.process(picture(8, 8), soon(0.05))
    assert rig.fallbacks == [FALLBACK_DEVICE_SILENT]
    await _until_cpu(remote)


async def _until_cpu(remote: RemoteEngine) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                processed = await remote.process(picture(8, 8), soon())
            except DeadlineExceeded:
                await asyncio.sleep(0.01)
                continue
            assert processed.device == "cpu"
            assert (processed.frame.u == 128).all(), "the effect was applied"
            return


async def _until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("message", [b"garbage", b"{}", b'{"slots": 4, "slot_bytes": 100}', b'{"slots": 0}'])
async def test_who_says_something_else_is_cut_off_and_others_go_on(rig, message):
    remote = await rig.remote()
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with stranger:
        stranger.connect(path_of(rig.listener.address))
        stranger.send(message)  # without shared memory
        stranger.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(stranger, 10) == b""
    assert (await remote.process(picture(8, 8), soon())).device == "cuda-simulated"


async def test_requests_outside_the_shared_memory_are_cut_off(rig):
    remote = await rig.remote()
    remote._lease._socket.send(b"\xff" * 24)
    async with asyncio.timeout(60):
        await remote._lease.lost.wait()


def test_shared_memory_must_be_as_large_as_was_said_and_stay_so():
    memory = new_memory(100)
    with pytest.raises(ValueError, match="100 bytes"):
        FrameRing(memory, 2, 51)
    with pytest.raises(OSError):
        os.ftruncate(memory, 0)
    os.close(memory)
    unsealed = os.memfd_create("x")
    os.ftruncate(unsealed, 100)
    with pytest.raises(ValueError, match="not sealed"):
        FrameRing(unsealed, 1, 100)
    os.close(unsealed)


def test_slots_do_not_overlap():
    width, height, slots = 7, 5, 3
    size = picture_bytes(width, height)
    memory = new_memory(slots * size)
    ring = FrameRing(memory, slots, size)
    os.close(memory)  # the mapping stays
    sent = [picture(width, height, seed) for seed in range(slots)]
    for slot, frame in enumerate(sent):
        copy_into(frame, ring.picture(slot, width, height))
    assert all(equal(ring.picture(slot, width, height), frame) for slot, frame in enumerate(sent))
    for slot, wide, high in ((slots, width, height), (-1, width, height), (0, width + 1, height), (0, 0, height)):
        with pytest.raises(IndexError):
            ring.picture(slot, wide, high)


def test_a_hello_is_bounded():
    with pytest.raises(ValueError):
        Hello(slots=1000, slot_bytes=1)


async def test_a_device_process_that_does_not_find_its_device_again_ends_before_it_serves():
    """Workers are connected to a GPU; a new process with only a CPU would take their frames, slowly."""
    ours, theirs = packet_pair()
    admin = listen_unseen(socket.SOCK_STREAM)
    listening = {"control": theirs.detach(), "admin": admin.listening.dup().detach()}
    settings = Settings(MEDIAPOD_DEVICE="CPU", MEDIAPOD_BIND_ADDRESS="127.0.0.1")
    orders = Orders(name="device", parent=1, wanted_device="cuda", **listening)
    with closing(ours), closing(admin):
        device = DeviceProcess(settings, orders, asyncio.Event())
        try:
            with pytest.raises(CannotRun, match="the device is cpu, no longer cuda") as refused:
                await device.start()
        finally:
            await device.stop()
    assert refused.value.code == EXIT_FAILED
