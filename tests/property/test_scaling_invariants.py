"""What holds for every input of one tick, however odd."""

import json
import math
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling import (
    DataState,
    DecisionAction,
    MarkDraining,
    PodFacts,
    PodSignals,
    ProblemKind,
    Reason,
    ScalingState,
    SetReplicas,
    Signals,
    WorkloadFacts,
    decide,
)
from mediapipeline_operator.core.scaling.model import DrainRecord, FeedbackStep

NOW = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
UNKNOWN = {DataState.STARTING, DataState.PARTIAL, DataState.STALE, DataState.MISSING}
many = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)

moments = st.integers(0, 4000).map(lambda seconds: (NOW - timedelta(seconds=seconds)).replace(microsecond=0))
maybe_moment = st.none() | moments


SIGNALS = ("GPUUtilization", "CPUUtilization", "MemoryUtilization", "RequestsPerSecond")


@st.composite
def asked_signals(draw):
    kinds = draw(st.sampled_from([(), (), SIGNALS[:1], SIGNALS[1:], SIGNALS]))
    votes, targets = st.sampled_from(["Assist", "Drive"]), st.integers(1, 100)
    return [{"type": kind, "target": draw(targets), "vote": draw(votes)} for kind in kinds]


@st.composite
def schedules(draw, low, high):
    """At NOW, noon of a Saturday, the first holds and the second does not."""
    crons = draw(st.sampled_from([(), (), ("0 11 * * *",), ("30 11 * * SAT", "0 20 * * *")]))
    bounds = st.sampled_from([{"minReplicas": high}, {"maxReplicas": low}])
    return [
        {"name": f"s{index}", "cron": cron, "durationSeconds": 7200, **draw(bounds)} for index, cron in enumerate(crons)
    ]


sources = st.sampled_from(
    [{}, {}, {"source": "Request"}, {"source": "Query", "query": 'x{namespace="media"}'}],
)


@st.composite
def specs(
    draw,
    engines=("Operator", "Operator", "Operator", "None", "HorizontalPodAutoscaler", "KEDA"),
    paused=(False, False, False, True),
    mode="Active",
):
    low = draw(st.integers(1, 6))
    high = low + draw(st.integers(0, 8))
    return MediaPipelineSpec.model_validate(
        {
            "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
            "replicas": draw(st.integers(0, 8)),
            "paused": draw(st.sampled_from(paused)),
            "sessions": {"maxPerReplica": draw(st.integers(1, 12))},
            "autoscaling": {
                "mode": mode,
                "engine": draw(st.sampled_from(engines)),
                "policy": draw(st.sampled_from(["SLO", "Threshold"])),
                "minReplicas": low,
                "maxReplicas": high,
                "sessions": {"targetUtilizationPercent": draw(st.integers(10, 100)), "buffer": draw(st.integers(0, 9))},
                "fallback": {"afterSeconds": 60} | draw(st.sampled_from([{}, {"replicas": 3}])),
                "drain": {"timeoutSeconds": 600, "maxParallel": draw(st.integers(1, 3))},
                "latency": draw(sources),
                "signals": draw(asked_signals()),
                "schedules": draw(schedules(low, high)),
            },
        }
    )


deciding = specs(engines=("Operator",), paused=(False,))
still = specs(paused=(True,)) | specs(engines=("Operator",), paused=(False,), mode="Advisory")


@st.composite
def pods(draw, index):
    ready = draw(st.booleans())
    created = draw(moments)
    marked = draw(st.sampled_from([False, False, True]))
    return PodFacts(
        name=f"pod-{index}",
        uid=f"uid-{index}",
        created=created,
        ready=ready,
        ready_since=min(NOW, created + timedelta(seconds=draw(st.integers(0, 90)))) if ready else None,
        terminating=draw(st.sampled_from([False, False, False, True])),
        draining=marked,
        drain_started=draw(maybe_moment) if marked else None,
        goes_first=marked and draw(st.booleans()),
        sessions=draw(st.none() | st.integers(0, 12)),
        admin_draining=draw(st.none() | st.just(marked) | st.booleans()),
        address=draw(st.sampled_from(["127.64.0.1", "127.64.0.1", None])),
    )


@st.composite
def workloads(draw):
    count = draw(st.integers(0, 8))
    rolling = draw(st.sampled_from([False, False, True]))
    return WorkloadFacts(
        replicas=max(0, count + draw(st.integers(-2, 2))),
        rollout_in_progress=rolling,
        rollout_since=draw(maybe_moment) if rolling else None,
        pods=tuple(draw(pods(index)) for index in range(count)),
    )


shares = st.floats(0, 1)


@st.composite
def pod_signals(draw):
    received = draw(st.none() | st.floats(0, 400))
    return PodSignals(
        up=draw(st.sampled_from([True, True, False, None])),
        age_seconds=draw(st.sampled_from([1.0, 2.0, 4.0, 30.0, None])),
        sessions=draw(st.sampled_from([0.0, 1.0, 4.0, 8.0, 12.0, None])),
        pending=draw(st.sampled_from([0.0, 1.0, None])),
        capacity=draw(st.sampled_from([8.0, None])),
        received_per_second=received,
        on_time_per_second=None if received is None else received * draw(shares),
        rejected_per_second=draw(st.sampled_from([0.0, 0.1, None])),
        busy_share=draw(st.none() | shares),
        requests_per_second=draw(st.sampled_from([None, 0.0, 20.0, 500.0])),
        gpu_percent=draw(st.sampled_from([None, 0.0, 40.0, 100.0])),
        cpu_cores=draw(st.sampled_from([None, 0.0, 0.7, 3.0])),
        memory_bytes=draw(st.sampled_from([None, 1e8, 4e9])),
    )


@st.composite
def measurements(draw):
    if draw(st.integers(0, 4)) == 0:
        return Signals.missing(draw(st.sampled_from(list(ProblemKind))))
    seen = {f"pod-{index}": draw(pod_signals()) for index in range(draw(st.integers(0, 8)))}
    received = sum(pod.received_per_second or 0.0 for pod in seen.values())
    late, missed = draw(st.integers(5, 6000)), draw(shares)
    ok = {bound: received * (1 - missed) * (bound * 1000 >= late) for bound in LATENCY_BUCKETS_SECONDS}
    queried = draw(st.none() | st.floats(0, 2))
    return Signals(20.0, None, seen, received, ok, draw(st.none() | st.floats(-1, 1)), latency_seconds=queried)


@st.composite
def states(draw):
    return ScalingState(
        data_state=draw(st.none() | st.sampled_from(list(DataState))),
        data_state_since=draw(maybe_moment),
        unknown_since=draw(maybe_moment),
        breach_since=draw(maybe_moment),
        healthy_since=draw(maybe_moment),
        rejected_since=draw(maybe_moment),
        learned_capacity=draw(st.none() | st.integers(1, 12)),
        ineffective_ups=draw(st.integers(0, 2)),
        feedback=draw(st.none() | st.builds(FeedbackStep, st.integers(0, 1000), st.integers(0, 90))),
        drains=tuple(
            DrainRecord(
                f"pod-{index}", f"uid-{index}", draw(moments), draw(st.none() | st.integers(0, 9)), draw(st.booleans())
            )
            for index in draw(st.sets(st.integers(0, 8), max_size=2))
        ),
    )


@st.composite
def calm_fleets(draw):
    """Nearly everything speaks for one replica fewer: drawn at random alone, such a fleet would hardly ever occur."""
    spec = draw(deciding)
    count = draw(st.integers(spec.autoscaling.min_replicas, spec.autoscaling.max_replicas))
    created = (NOW - timedelta(hours=2)).replace(microsecond=0)
    names = [f"pod-{index}" for index in range(count)]
    asked = {signal.type.value: signal.target for signal in spec.autoscaling.signals}
    gpu = asked.get("GPUUtilization", 50) * draw(st.floats(0, 1))
    ready = [PodFacts(name, f"uid-{name}", created, True, created, address="127.64.0.1") for name in names]
    seen = {}
    for name in names:
        sessions = float(draw(st.integers(0, 5)))
        busy, silent = draw(st.floats(0, 0.7)), draw(st.integers(0, 9)) == 0
        rate, age = 30.0 * sessions, 60.0 if silent else 2.0
        use = {"requests_per_second": 1.0, "gpu_percent": gpu, "cpu_cores": 0.1, "memory_bytes": 1e7}
        seen[name] = PodSignals(True, age, sessions, 0.0, 8.0, False, rate, rate, busy_share=busy, **use)
    received = sum(pod.received_per_second for pod in seen.values())
    late = draw(st.sampled_from([5, 5, 5, 75, 120]))
    ok = {bound: received * (bound * 1000 >= late) for bound in LATENCY_BUCKETS_SECONDS}
    signals = Signals(20.0, None, seen, received, ok, draw(st.sampled_from([None, 0.0, 0.1])))
    state = ScalingState(data_state=DataState.FRESH, healthy_since=created)
    return spec, WorkloadFacts(count, pods=tuple(ready)), signals, state


inputs = st.tuples(specs(), workloads(), measurements(), states()) | calm_fleets()


def run(spec, workload, signals, state, now=NOW):
    return decide(spec, workload, signals, state, now, tick_seconds=10)


def operator_decides(spec):
    return spec.autoscaling.engine.value == "Operator" and not spec.paused


def lowers(outcome):
    return [a for a in outcome.actions if isinstance(a, SetReplicas) and a.to < a.expect]


def marks(outcome):
    return [a for a in outcome.actions if isinstance(a, MarkDraining)]


def bounds_are_respected_and_the_expectation_is_what_was_observed(spec, workload, outcome):
    for action in outcome.actions:
        if isinstance(action, SetReplicas):
            assert action.expect == workload.replicas
            assert action.to != action.expect
            if spec.autoscaling.engine.value == "Operator":
                assert action.to <= max(spec.autoscaling.max_replicas, action.expect)
    decision = outcome.decision
    if operator_decides(spec) and decision.action is DecisionAction.DOWN:
        assert decision.to_replicas >= spec.autoscaling.min_replicas
    if operator_decides(spec) and decision.from_replicas < spec.autoscaling.min_replicas:
        assert decision.to_replicas >= spec.autoscaling.min_replicas


def never_down_on_unknown_data(spec, workload, outcome):
    if outcome.data_state in UNKNOWN and spec.autoscaling.engine.value == "Operator":
        assert not lowers(outcome)
        assert not marks(outcome)


def at_most_one_destructive_step(spec, workload, outcome):
    assert len(lowers(outcome)) + len(marks(outcome)) <= 1
    assert all(action.to == action.expect - 1 for action in lowers(outcome))


def never_lowered_for_a_pod_that_has_sessions_or_did_not_say_that_it_has_none(spec, workload, outcome):
    if lowers(outcome):
        live = [pod for pod in workload.pods if not pod.terminating]
        first = min(map(replicaset_rank, live))
        for pod in (pod for pod in live if replicaset_rank(pod) == first):
            assert not pod.ready
            assert (pod.sessions == 0 and pod.admin_draining) or (pod.address is None and pod.ready_since is None)


def replicaset_rank(pod):
    """In which order the ReplicaSet deletes, as far as facts tell: not running, unready, lowest deletion cost. Who has
    not answered may not run."""
    cost = -2000 if pod.goes_first else -1000 if pod.draining else 0
    return (pod.admin_draining is not None or pod.ready, pod.ready, cost)


def never_down_when_the_prediction_says_breach(spec, workload, outcome):
    decision = outcome.decision
    if decision.action is DecisionAction.DOWN and decision.reason in (Reason.LATENCY_LOW, Reason.NO_TRAFFIC):
        target = spec.autoscaling.sessions.target_utilization_percent / 100
        sessions, prediction = outcome.log["sessions"], decision.prediction
        assert prediction is not None
        places = prediction.replicas * outcome.log["capacity_per_replica"]
        by_chance = math.ceil(2 * math.sqrt(sessions) - 1e-9)
        assert sessions + by_chance <= target * places + 1e-9
        assert prediction.utilization >= sessions / places
        assert prediction.device_busy is None or prediction.device_busy <= 0.8


def every_outcome_is_explained_and_fits_into_a_status(spec, workload, outcome):
    assert outcome.decision.reason
    assert " because " in outcome.text
    assert "None" not in outcome.text
    written = json.loads(json.dumps([outcome.autoscaling_status, outcome.latency_status, outcome.sessions_status]))
    assert not list(floats(written))
    assert len(outcome.autoscaling_status["history"]) <= 10
    assert len(outcome.decision.message) <= 256
    assert len({condition.type for condition in outcome.conditions}) == 4


def floats(value):
    """Numbers that are not whole: an API server stores them, and every reader rounds them differently."""
    if isinstance(value, float):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from floats(child)


def a_restarted_operator_knows_what_the_old_one_knew(spec, workload, outcome):
    """Status holds all of the state, so a restart between two ticks cannot change a decision."""
    stored = json.loads(json.dumps({"autoscaling": outcome.autoscaling_status}))
    assert ScalingState.from_status(stored) == outcome.state


def never_down_when_a_signal_is_unknown_or_would_come_near_its_target(spec, workload, outcome):
    decision = outcome.decision
    if decision.action is DecisionAction.DOWN and decision.reason in (Reason.LATENCY_LOW, Reason.NO_TRAFFIC):
        rows = {row["name"]: row for row in outcome.autoscaling_status["signals"]}
        for signal in spec.autoscaling.signals:
            assert rows[signal.type.value]["value"] <= 0.9 * signal.target + 0.5


CHECKS = (
    never_down_when_a_signal_is_unknown_or_would_come_near_its_target,
    bounds_are_respected_and_the_expectation_is_what_was_observed,
    never_down_on_unknown_data,
    at_most_one_destructive_step,
    never_lowered_for_a_pod_that_has_sessions_or_did_not_say_that_it_has_none,
    never_down_when_the_prediction_says_breach,
    every_outcome_is_explained_and_fits_into_a_status,
    a_restarted_operator_knows_what_the_old_one_knew,
)


@many
@given(inputs)
def test_every_single_outcome(drawn):
    """One drawn input, all checks: drawing is what takes the time."""
    spec, workload, signals, state = drawn
    outcome = run(spec, workload, signals, state)
    for check in CHECKS:
        check(spec, workload, outcome)


def with_a_lost_status_nothing_is_lowered_at_once(spec, workload, signals, state):
    outcome = run(spec, workload, signals, ScalingState())
    if outcome.decision.action is DecisionAction.DOWN:
        assert outcome.decision.reason in (Reason.ABOVE_MAXIMUM, Reason.REPLICAS_REQUESTED)


@many
@given(inputs)
def test_with_a_lost_status_nothing_is_lowered_at_once(drawn):
    with_a_lost_status_nothing_is_lowered_at_once(*drawn)


@many
@given(inputs, st.integers(1, 900))
def test_a_later_look_is_never_an_earlier_scale_down(drawn, seconds):
    """Of two ticks with the same facts, if the earlier one may start a drain, so may the later one."""
    spec, workload, signals, state = drawn
    settled = tuple(replace(pod, created=NOW - timedelta(hours=2)) for pod in workload.pods if pod.ready)
    calm = replace(workload, pods=settled, replicas=len(settled), rollout_in_progress=False)
    early, late = run(spec, calm, signals, state), run(spec, calm, signals, state, NOW + timedelta(seconds=seconds))
    if marks(early) and early.decision.action is DecisionAction.DOWN and early.data_state is late.data_state:
        assert marks(late) or lowers(late)


def more_sessions_never_mean_fewer_replicas(spec, workload, signals, state, index, more):
    known = [name for name, seen in signals.pods.items() if seen.sessions is not None]
    name = known[index % len(known)] if known else None
    if name is None:
        return
    heavier_pod = replace(signals.pods[name], sessions=signals.pods[name].sessions + more)
    heavier = replace(signals, pods={**signals.pods, name: heavier_pod})
    light, heavy = run(spec, workload, signals, state), run(spec, workload, heavier, state)
    assert heavy.decision.to_replicas >= light.decision.to_replicas


decided = st.tuples(deciding, workloads(), measurements(), states()) | calm_fleets()
MORE_SESSIONS = (st.integers(0, 7), st.integers(1, 20))


@many
@given(decided, *MORE_SESSIONS)
def test_more_sessions_never_mean_fewer_replicas(drawn, index, more):
    more_sessions_never_mean_fewer_replicas(*drawn, index, more)


def dropped_frames_raise_the_missed_share_and_never_lower_the_wish(spec, workload, signals, state, kept):
    """Of the frames that came back in time only the share `kept` still does: miss becomes 1 - kept (1 - miss)."""
    fewer = {bound: rate * kept for bound, rate in signals.ok_per_second.items()}
    good, bad = run(spec, workload, signals, state), run(spec, workload, replace(signals, ok_per_second=fewer), state)
    # Of the smallest floats there is no share: half of 5e-324 is 5e-324 or 0.
    exact = (signals.received_per_second or 0.0) >= sys.float_info.min
    if exact and "missPerMille" in good.latency_status and "missPerMille" in bad.latency_status:
        expected = 1000 - kept * (1000 - good.latency_status["missPerMille"])
        assert abs(bad.latency_status["missPerMille"] - expected) <= 1
    assert bad.decision.to_replicas >= good.decision.to_replicas


@many
@given(decided, shares)
def test_dropped_frames_raise_the_missed_share_and_never_lower_the_wish(drawn, kept):
    dropped_frames_raise_the_missed_share_and_never_lower_the_wish(*drawn, kept)


@many
@given(deciding, workloads(), measurements(), states(), st.sampled_from(SIGNALS), st.floats(1, 9))
def test_a_higher_signal_never_means_fewer_replicas(spec, workload, signals, state, kind, factor):
    name = {
        "GPUUtilization": "gpu_percent",
        "CPUUtilization": "cpu_cores",
        "MemoryUtilization": "memory_bytes",
        "RequestsPerSecond": "requests_per_second",
    }[kind]
    known = {key: getattr(seen, name) for key, seen in signals.pods.items()}
    pods = {
        key: seen if known[key] is None else replace(seen, **{name: factor * known[key]})
        for key, seen in signals.pods.items()
    }
    low, high = run(spec, workload, signals, state), run(spec, workload, replace(signals, pods=pods), state)
    assert high.decision.to_replicas >= low.decision.to_replicas


@many
@given(still, workloads(), measurements(), states())
def test_advisory_and_paused_touch_nothing_but_running_drains(spec, workload, signals, state):
    outcome = run(spec, workload, signals, state)
    assert not [action for action in outcome.actions if isinstance(action, SetReplicas | MarkDraining)]
    if not any(pod.draining for pod in workload.pods):
        assert outcome.actions == ()
