"""When probes are due, what their results mean, and how they gate each other; time is an argument or shortened."""

import asyncio

import pytest

from devcluster.node.checks import CheckResult
from devcluster.node.container_state import ContainerState
from devcluster.node.probe_state import ProbeKind, ProbeState, ProbeTiming, next_tick
from devcluster.node.probing import ContainerProbes, Probe


def test_timing_has_the_defaults_of_the_api():
    assert ProbeTiming.of({}) == ProbeTiming(0, 10, 1, 1, 3)
    assert ProbeTiming.of({"periodSeconds": 2, "failureThreshold": 5}) == ProbeTiming(0, 2, 1, 1, 5)


def test_initial_verdicts():
    timing = ProbeTiming()
    assert ProbeState(ProbeKind.LIVENESS, timing).passing is True
    assert ProbeState(ProbeKind.READINESS, timing).passing is False
    assert ProbeState(ProbeKind.STARTUP, timing).passing is None


def test_liveness_fails_after_threshold_failures_in_a_row():
    state = ProbeState(ProbeKind.LIVENESS, ProbeTiming(failure_threshold=3))
    assert [state.observe(ok) for ok in (False, False, True, False, False)] == [False] * 5
    assert state.passing is True
    assert state.observe(False) is True
    assert state.passing is False


def test_readiness_needs_its_success_threshold():
    state = ProbeState(ProbeKind.READINESS, ProbeTiming(success_threshold=2, failure_threshold=1))
    assert [state.observe(True), state.passing] == [False, False]
    assert [state.observe(True), state.passing] == [True, True]
    assert [state.observe(False), state.passing] == [True, False]


def test_a_verdict_is_reported_once():
    state = ProbeState(ProbeKind.READINESS, ProbeTiming())
    assert [state.observe(True) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("kind", "started", "due"),
    [
        (ProbeKind.STARTUP, False, True),
        (ProbeKind.STARTUP, True, False),
        (ProbeKind.LIVENESS, False, False),
        (ProbeKind.LIVENESS, True, True),
        (ProbeKind.READINESS, False, False),
    ],
)
def test_startup_gates_the_others(kind, started, due):
    assert ProbeState(kind, ProbeTiming()).due(100, started=started) is due


def test_nothing_is_due_before_the_initial_delay():
    state = ProbeState(ProbeKind.LIVENESS, ProbeTiming(initial_delay_seconds=5))
    assert not state.due(4.9, started=True)
    assert state.due(5, started=True)


@pytest.mark.parametrize(
    ("running", "timing", "tick"),
    [
        (0, ProbeTiming(period_seconds=10), 1),
        (1, ProbeTiming(period_seconds=10), 11),
        (10.5, ProbeTiming(period_seconds=10), 11),
        (0, ProbeTiming(period_seconds=1), 0.5),
        (0, ProbeTiming(initial_delay_seconds=12, period_seconds=10), 21),
        (0, ProbeTiming(initial_delay_seconds=11, period_seconds=10), 11),
    ],
)
def test_ticks_are_a_period_apart(running, timing, tick):
    assert next_tick(running, timing) == pytest.approx(tick)


class Scripted:
    """A check that answers from a list, then repeats its last answer."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), 0

    async def __call__(self, timeout):
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return CheckResult(answer, "" if answer else "no")


def probes(container, **checks):
    timing = ProbeTiming(period_seconds=0.01, failure_threshold=2)
    table = {ProbeKind(kind): Probe(check, timing) for kind, check in checks.items()}
    failures = []
    return ContainerProbes(
        table, container, lambda: None, lambda kind, message: failures.append((kind, message))
    ), failures


async def run_until(runner, condition):
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  any condition, not an event of ours
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_container_without_probes_is_started_and_ready_at_once():
    container = ContainerState("c", "i")
    runner, _ = probes(container)
    await run_until(runner, lambda: container.started and container.ready)


async def test_readiness_waits_for_startup():
    container = ContainerState("c", "i")
    startup, readiness = Scripted(False, False, True), Scripted(True)
    startup_probe = Probe(startup, ProbeTiming(period_seconds=0.01, failure_threshold=5))
    runner, failures = probes(container, readiness=readiness)
    runner._probes[ProbeKind.STARTUP] = startup_probe
    await run_until(runner, lambda: container.ready)
    assert startup.calls == 3
    assert failures == [(ProbeKind.STARTUP, "no")] * 2
    assert not runner.unhealthy.is_set()


@pytest.mark.parametrize("kind", ["startup", "liveness"])
async def test_failing_startup_and_liveness_ask_for_a_restart(kind):
    runner, _ = probes(ContainerState("c", "i"), **{kind: Scripted(False)})
    await run_until(runner, runner.unhealthy.is_set)


async def test_failing_readiness_only_takes_ready_away():
    container = ContainerState("c", "i")
    readiness = Scripted(True, True, False, False, False)
    runner, _ = probes(container, readiness=readiness)
    await run_until(runner, lambda: container.ready)
    await run_until(runner, lambda: readiness.calls > 6)
    assert not runner.unhealthy.is_set()


async def test_a_container_that_is_being_ended_is_not_killed_by_its_probes():
    runner, _ = probes(ContainerState("c", "i"), liveness=Scripted(False), readiness=Scripted(True))
    runner.stop_killing()
    check = runner._probes[ProbeKind.READINESS].check
    await run_until(runner, lambda: check.calls > 5)
    assert not runner.unhealthy.is_set()
