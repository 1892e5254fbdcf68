"""Signals with their votes: what they ask for, what they forbid, and that an unknown one is not low."""

from dataclasses import replace

import pytest

from mediapipeline_operator.api.spec import Policy
from mediapipeline_operator.core.scaling import Blocker, DecisionAction, Limit, Reason

HALF_A_CORE = {"requests": {"cpu": "500m", "memory": "1Gi"}}


def with_signals(make, signals, n=3, sessions=4, resources=None, **values):
    """A healthy fleet whose replicas all have these values."""
    fleet = make.fleet(n, sessions=sessions, signals=signals)
    spec = fleet.spec
    if resources is not None:
        spec = spec.model_copy(update={"compute": spec.compute.model_copy(update={"resources": resources})})
    pods = {name: replace(seen, **values) for name, seen in fleet.signals.pods.items()}
    return replace(fleet, spec=spec, signals=replace(fleet.signals, pods=pods))


def row(outcome, name):
    return next(row for row in outcome.autoscaling_status["signals"] if row["name"] == name)


def test_drive_asks_for_as_many_as_bring_the_mean_to_the_target(make):
    signals = [{"type": "RequestsPerSecond", "target": 30, "vote": "Drive"}]
    outcome = with_signals(make, signals, requests_per_second=50.0).tick()
    assert (outcome.decision.action, outcome.decision.to_replicas) == (DecisionAction.UP, 5)
    assert outcome.decision.reason is Reason.SIGNAL_HIGH
    assert "RequestsPerSecond is 50 requests a second a replica (target 30" in outcome.text
    assert row(outcome, "RequestsPerSecond") | {"observedTime": ""} == {
        "name": "RequestsPerSecond",
        "unit": "PerSecond",
        "value": 50,
        "high": 30,
        "proposal": 5,
        "observedTime": "",
    }


def test_assist_adds_one_and_then_waits_for_its_effect(make):
    signals = [{"type": "CPUUtilization", "target": 70}]
    fleet = with_signals(make, signals, resources=HALF_A_CORE, cpu_cores=0.49)
    outcome = fleet.tick()
    assert outcome.decision.to_replicas == 4
    assert row(outcome, "CPUUtilization")["value"] == 98
    assert fleet.after(10, outcome).tick().decision.action is DecisionAction.HOLD
    assert fleet.after(40, outcome).tick().decision.action is DecisionAction.UP


def test_assist_asks_for_nothing_while_a_replica_starts(make):
    fleet = with_signals(make, [{"type": "CPUUtilization"}], resources=HALF_A_CORE, cpu_cores=0.49)
    starting = (*fleet.workload.pods, make.pod("new", age=5, ready=False))
    assert fleet.with_pods(*starting).tick().decision.action is DecisionAction.HOLD


def test_drive_counts_ready_replicas_so_that_starting_ones_are_not_asked_for_twice(make):
    signals = [{"type": "RequestsPerSecond", "target": 30, "vote": "Drive"}]
    fleet = with_signals(make, signals, requests_per_second=50.0)
    starting = [make.pod(name, age=5, ready=False) for name in ("new-0", "new-1")]
    assert fleet.with_pods(*fleet.workload.pods, *starting).tick().decision.action is DecisionAction.HOLD


@pytest.mark.parametrize(("gpu", "busy", "value"), [(90.0, 0.2, 90), (None, 0.2, 20), (None, None, None)])
def test_the_gpu_is_dcgms_else_the_devices_busy_share_else_unknown(make, gpu, busy, value):
    fleet = with_signals(make, [{"type": "GPUUtilization", "target": 95}], gpu_percent=gpu, busy_share=busy)
    assert row(fleet.tick(), "GPUUtilization").get("value") == value


def test_memory_is_a_share_of_what_is_requested(make):
    fleet = with_signals(make, [{"type": "MemoryUtilization"}], resources=HALF_A_CORE, memory_bytes=0.5 * 2**30)
    assert row(fleet.tick(), "MemoryUtilization")["value"] == 50


def test_the_devices_own_defaults_are_the_request_where_the_spec_has_none(make):
    fleet = with_signals(make, [{"type": "CPUUtilization"}], cpu_cores=1.0)
    assert row(fleet.tick(), "CPUUtilization")["value"] == 50  # of the two cores that a GPU replica requests


def first_down(fleet):
    """The outcome that starts the first drain, else the last one of ten minutes."""
    outcomes = fleet.run(600)
    return next((one for one in outcomes if one.decision.action is DecisionAction.DOWN), outcomes[-1])


def lowering(make, signals, **values):
    """Four almost empty replicas whose p95 has been low for long."""
    return first_down(with_signals(make, signals, n=4, sessions=1, **values))


def test_without_signals_this_fleet_is_lowered(make):
    assert first_down(make.fleet(4, sessions=1)).decision.action is DecisionAction.DOWN


@pytest.mark.parametrize("vote", ["Assist", "Drive"])
def test_a_signal_that_would_come_near_its_target_forbids_a_removal(make, vote):
    signals = [{"type": "CPUUtilization", "target": 70, "vote": vote}]
    kept = lowering(make, signals, resources=HALF_A_CORE, cpu_cores=0.25)  # 50 % on four, 67 % on three
    assert Blocker.SIGNALS_AFTER_REMOVAL in kept.decision.blocked_by
    assert "a signal would be too close to its target" in kept.text
    lowered = lowering(make, signals, resources=HALF_A_CORE, cpu_cores=0.2)  # 40 % on four, 53 % on three
    assert lowered.decision.action is DecisionAction.DOWN


def test_an_unknown_signal_is_not_low(make):
    outcome = lowering(make, [{"type": "CPUUtilization"}])
    assert outcome.decision.blocked_by == (Blocker.SIGNAL_UNKNOWN,)


def test_the_mean_of_a_few_is_unknown(make):
    fleet = with_signals(make, [{"type": "RequestsPerSecond", "target": 1, "vote": "Drive"}])
    pods = dict(fleet.signals.pods)
    pods["pod-0"] = replace(pods["pod-0"], requests_per_second=100.0)
    fleet = replace(fleet, signals=replace(fleet.signals, pods=pods))
    assert "value" not in row(fleet.tick(), "RequestsPerSecond")
    assert fleet.tick().decision.action is DecisionAction.HOLD


def test_signals_count_in_both_policies_and_are_bounded_like_everything(make):
    signals = [{"type": "RequestsPerSecond", "target": 1, "vote": "Drive"}]
    fleet = with_signals(make, signals, requests_per_second=500.0)
    scaling = fleet.spec.autoscaling.model_copy(update={"policy": Policy.THRESHOLD})
    outcome = replace(fleet, spec=fleet.spec.model_copy(update={"autoscaling": scaling})).tick()
    assert outcome.decision.to_replicas == 7  # four more a minute


def test_several_signals_do_not_hide_each_other_in_log_and_metrics(make):
    signals = [
        {"type": "RequestsPerSecond", "target": 30, "vote": "Drive"},
        {"type": "CPUUtilization", "target": 70},
    ]
    fleet = with_signals(make, signals, resources=HALF_A_CORE, requests_per_second=50.0, cpu_cores=0.49)
    outcome = fleet.tick()
    assert outcome.log["proposals"]["SignalHigh"] == 5
    gauges = [value for name, labels, value in outcome.metrics if labels == {"reason": "SignalHigh"}]
    assert gauges == [5]


def test_a_jump_is_taken_in_part_and_in_full_when_the_next_tick_confirms_it(make):
    signals = [{"type": "RequestsPerSecond", "target": 30, "vote": "Drive"}]
    fleet = with_signals(make, signals, n=12, requests_per_second=60.0)
    spec = fleet.spec.model_copy(
        update={"autoscaling": fleet.spec.autoscaling.model_copy(update={"max_replicas": 100})}
    )
    first = replace(fleet, spec=spec).tick()
    assert (first.decision.to_replicas, first.decision.limited_by) == (18, (Limit.UNCONFIRMED,))
    assert "until the next tick confirms it" in first.text
    again = replace(fleet, spec=spec).after(10, first).tick()
    assert (again.decision.to_replicas, again.decision.limited_by) == (24, ())


def test_one_absurd_sample_is_forgotten(make):
    signals = [{"type": "RequestsPerSecond", "target": 30, "vote": "Drive"}]
    first = with_signals(make, signals, n=12, requests_per_second=60.0).tick()
    assert first.state.jump_since is not None
    calm = with_signals(make, signals, n=12, requests_per_second=10.0).after(10, first).tick()
    assert calm.state.jump_since is None
