"""When a status is looked at for what is only measured: now and then, and not those of all pipelines at once."""

import itertools
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from mediapipeline_operator.api.pipeline import Key, MediaPipeline
from mediapipeline_operator.core.status import Report
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.reconciler import Reconciler, Tools
from mediapipeline_operator.shell.clock import Clock
from unit.stopwatch import Stopwatch

EVERY = 60.0
STAGES = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}]}}


class UnchangedReport:
    """Nothing to write; counts the looks that compare all of the status."""

    def __init__(self) -> None:
        self.looks = 0

    def is_due(self, old: bytes, seconds: float, every_seconds: float) -> bool:
        self.looks += seconds >= every_seconds
        return False


def _pipeline(name: str) -> MediaPipeline:
    meta = {"namespace": "n", "name": name, "uid": name, "resourceVersion": "1"}
    return MediaPipeline.from_object({"metadata": meta, "spec": STAGES})


@pytest.fixture
def clock() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def reconciler(clock: Stopwatch) -> Reconciler:
    tools: Any = SimpleNamespace(clock=clock, measurements_every_seconds=EVERY)
    return Reconciler(cast(Tools, tools))


async def _looks_after(reconciler: Reconciler, clock: Stopwatch, name: str, passes: int) -> list[int]:
    """Numbers of the passes, one every ten seconds, that compare all of the status."""
    pipeline, report, looked = _pipeline(name), UnchangedReport(), []
    remembered = reconciler._remember(pipeline)
    for number in range(passes):
        before = report.looks
        await reconciler._write_status(pipeline, cast(Report, report), remembered)
        if report.looks > before:
            looked.append(number)
        clock.seconds += 10
    return looked


async def test_a_status_that_says_what_is_measured_is_looked_at_once_in_a_period(
    reconciler: Reconciler, clock: Stopwatch
) -> None:
    looked = await _looks_after(reconciler, clock, "p", passes=31)
    assert [later - earlier for earlier, later in itertools.pairwise(looked)] == [6] * (len(looked) - 1)
    assert len(looked) >= 3


async def test_after_a_start_not_all_are_looked_at_in_the_same_pass(reconciler: Reconciler, clock: Stopwatch) -> None:
    first = {(await _looks_after(reconciler, clock, f"p{number}", passes=13))[0] for number in range(30)}
    assert len(first) >= 4
    assert min(first) >= EVERY / 10


class DueReport:
    """A status that differs from the one that is there."""

    body: ClassVar[dict[str, Any]] = {}

    def __init__(self, *, may_wait: bool) -> None:
        self.may_wait = may_wait

    def is_due(self, old: bytes, seconds: float, every_seconds: float) -> bool:
        return True


class Term:
    """Takes statuses; while `crowded`, those that may wait come again later."""

    def __init__(self, clock: Clock) -> None:
        self.crowded = True
        self.written = 0
        self.again: list[tuple[Key, float]] = []
        pipelines = SimpleNamespace(put=lambda live: None)
        tools: Any = SimpleNamespace(
            clock=clock, measurements_every_seconds=EVERY, writer=self, metrics=Metrics(), pipelines=pipelines,
            put_off=self._put_off,
        )  # fmt: skip
        self.reconciler = Reconciler(cast(Tools, tools))

    async def apply_status(self, *arguments: Any) -> dict[str, Any]:
        self.written += 1
        return {}

    async def passes(self, *, may_wait: bool) -> int:
        """How many statuses one more pass writes."""
        before, pipeline = self.written, _pipeline("p")
        report = cast(Report, DueReport(may_wait=may_wait))
        await self.reconciler._write_status(pipeline, report, self.reconciler._remember(pipeline))
        return self.written - before

    def _put_off(self, key: Key, seconds: float) -> bool:
        if self.crowded:
            self.again.append((key, seconds))
        return self.crowded


async def test_a_status_that_may_wait_comes_after_the_changes_of_others(clock: Stopwatch) -> None:
    term = Term(clock)
    assert await term.passes(may_wait=True) == 0
    clock.seconds += 10
    assert await term.passes(may_wait=True) == 0
    assert term.again == [(Key("n", "p"), 30), (Key("n", "p"), 20)]
    assert await term.passes(may_wait=False) == 1
    term.crowded = False
    assert await term.passes(may_wait=True) == 1


async def test_no_status_waits_for_ever(clock: Stopwatch) -> None:
    term = Term(clock)
    for _ in range(3):
        assert await term.passes(may_wait=True) == 0
        clock.seconds += 10
    assert await term.passes(may_wait=True) == 1
    assert await term.passes(may_wait=True) == 0, "the next one may wait again"


def test_the_phase_of_a_name_is_always_the_same_and_phases_are_spread_evenly() -> None:
    phases = [Key("n", f"p{number}").phase for number in range(1000)]
    assert phases == [Key("n", f"p{number}").phase for number in range(1000)]
    tenths = [sum(tenth <= 10 * phase < tenth + 1 for phase in phases) for tenth in range(10)]
    assert sum(tenths) == 1000
    assert min(tenths) > 50
