"""A device that fails: halve the batch, then the CPU for that effect, then try the device again. No torch needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mediapod.effects import Effect, Parameters
from mediapod.engine import EffectError, StageSpec, build_engine, factory
from mediapod.engine.fallback import DeviceError, FallbackRunner, Outcome
from mediapod.engine.stages import Stage, grey_frame
from mediapod.frames.i420 import I420Frame


class Adding(Effect[Parameters]):
    """Adds 1 to the luma; on the CPU, too."""

    name = "Adding"
    Parameters = Parameters

    def __init__(self, amount: int) -> None:
        super().__init__(Parameters())
        self.amount = amount

    def cpu(self, frame: I420Frame) -> I420Frame:
        return I420Frame(y=frame.y + np.uint8(self.amount), u=frame.u, v=frame.v)

    def torch(self, batch):
        return batch


Fault = Callable[[Sequence[Stage], Sequence[I420Frame]], None]


class FakeDevice:
    """Does the work and remembers it; `fault` may raise instead."""

    device = "cuda"

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[str, ...], int]] = []
        self.fault: Fault = lambda stages, frames: None

    def run(self, stages: Sequence[Stage], frames: Sequence[I420Frame]) -> list[I420Frame]:
        self.batches.append((tuple(stage.name for stage in stages), len(frames)))
        self.fault(stages, frames)
        results = list(frames)
        for stage in stages:
            results = [stage.effect.cpu(frame) for frame in results]
        return results


class Rig:
    def __init__(self) -> None:
        self.device, self.now, self.reasons = FakeDevice(), 0.0, []
        self.stages = [Stage("one", Adding(1)), Stage("ten", Adding(10)), Stage("fifty", Adding(50))]
        self.runner = FallbackRunner(self.stages, self.device, self.reasons.append, clock=lambda: self.now)

    def run(self, count: int) -> list[Outcome]:
        outcomes = self.runner.run([frame(index) for index in range(count)])
        assert len(outcomes) == count
        return outcomes


def frame(value: int) -> I420Frame:
    grey = grey_frame(5, 3)
    return I420Frame(y=np.full_like(grey.y, value), u=grey.u, v=grey.v)


def lumas(outcomes: Sequence[Outcome]) -> list[int]:
    assert all(isinstance(outcome.result, I420Frame) for outcome in outcomes)
    return [int(outcome.result.y[0, 0]) for outcome in outcomes]


def fail_on(stage_name: str, reason: str = "cuda_error") -> Fault:
    def fault(stages: Sequence[Stage], frames: Sequence[I420Frame]) -> None:
        for stage in stages:
            if stage.name == stage_name:
                raise DeviceError(reason, stage)

    return fault


def test_a_working_device_gets_the_whole_batch() -> None:
    rig = Rig()
    outcomes = rig.run(4)
    assert lumas(outcomes) == [61, 62, 63, 64]
    assert {outcome.device for outcome in outcomes} == {"cuda"}
    assert rig.device.batches == [(("one", "ten", "fifty"), 4)]
    assert rig.reasons == []


def test_out_of_memory_halves_the_batch_and_stays_on_the_device() -> None:
    rig = Rig()

    def too_large(stages: Sequence[Stage], frames: Sequence[I420Frame]) -> None:
        if len(frames) > 2:
            raise DeviceError("out_of_memory", stages[0])

    rig.device.fault = too_large
    outcomes = rig.run(8)
    assert lumas(outcomes) == [61 + index for index in range(8)]
    assert {outcome.device for outcome in outcomes} == {"cuda"}
    assert [count for _, count in rig.device.batches] == [8, 4, 2, 2, 4, 2, 2]
    assert rig.reasons == []


def test_an_effect_that_fails_on_the_device_runs_on_the_cpu_and_is_counted() -> None:
    rig = Rig()
    rig.device.fault = fail_on("ten")
    outcomes = rig.run(1)
    assert lumas(outcomes) == [61]
    assert outcomes[0].device == "cpu"
    assert rig.reasons == ["cuda_error"]
    assert rig.device.batches == [(("one", "ten", "fifty"), 1), (("one",), 1), (("fifty",), 1)]
    rig.device.batches.clear()
    assert lumas(rig.run(2)) == [61, 62]
    assert rig.device.batches == [(("one",), 2), (("fifty",), 2)]
    assert rig.reasons == ["cuda_error"]


def test_ten_seconds_later_the_device_is_tried_again() -> None:
    rig = Rig()
    rig.device.fault = fail_on("ten")
    rig.run(1)
    rig.now = 10.0
    assert lumas(rig.run(1)) == [61]
    assert rig.reasons == ["cuda_error"] * 2
    rig.device.fault = lambda stages, frames: None
    rig.now = 19.9
    assert rig.run(1)[0].device == "cpu"
    rig.now = 20.0
    assert rig.run(1)[0].device == "cuda"
    assert rig.run(1)[0].device == "cuda"


def test_a_device_that_is_lost_altogether_leaves_everything_to_the_cpu() -> None:
    rig = Rig()

    def lost(stages: Sequence[Stage], frames: Sequence[I420Frame]) -> None:
        raise DeviceError("cuda_error", None)

    rig.device.fault = lost
    outcomes = rig.run(5)
    assert lumas(outcomes) == [61 + index for index in range(5)]
    assert {outcome.device for outcome in outcomes} == {"cpu"}
    rig.device.batches.clear()
    rig.run(5)
    assert rig.device.batches == []


def test_the_one_bad_frame_of_a_batch_fails_alone() -> None:
    rig = Rig()

    def bad(stages: Sequence[Stage], frames: Sequence[I420Frame]) -> None:
        if any(frame.y[0, 0] == 5 for frame in frames):
            raise EffectError("one", "Adding", "does not like fives")

    rig.device.fault = bad
    outcomes = rig.run(8)
    assert isinstance(outcomes[5].result, EffectError)
    assert lumas([*outcomes[:5], *outcomes[6:]]) == [61, 62, 63, 64, 65, 67, 68]
    assert rig.reasons == []


@pytest.mark.parametrize("device", ["Auto", "GPU"])
@pytest.mark.parametrize("reason", ["torch_missing", "cuda_unavailable", "cuda_broken"])
def test_without_cuda_the_cpu_engine_is_taken_and_counted(
    device: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "why_not_cuda", lambda: reason)
    reasons: list[str] = []
    engine = build_engine([StageSpec("a", "GaussianBlur", {})], device, on_fallback=reasons.append)
    assert engine.device == "cpu"
    assert reasons == [reason]


def test_the_cpu_and_the_simulated_device_never_import_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from mediapod.engine import StageSpec, build_engine;"
        "from mediapod.effects import EFFECTS;"
        "stages = [StageSpec(name, name, {}) for name in set(EFFECTS) - {'TorchModule'}];"
        "[build_engine(stages, device, service_time_seconds=.1) for device in ('CPU', 'Simulated')];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=180, check=False).returncode == 0
