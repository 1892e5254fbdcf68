"""A pod's status from its containers' states, and what an agent takes over from an earlier one."""

from datetime import UTC, datetime, timedelta

import pytest

from devcluster.node.backoff import RestartBackOff, restarts
from devcluster.node.container_state import ContainerState, Running, Terminated, Waiting, restored
from devcluster.node.status import PodRuntime, phase, pod_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def running(name="c", *, ready=True):
    return ContainerState(name, "i", state=Running(NOW), started=True, ready=ready)


def ended(code, *, final=True, name="c"):
    return ContainerState(name, "i", state=Terminated(code, "Completed", NOW, NOW), final=final)


def crash_looping():
    return ContainerState("c", "i", state=Waiting("CrashLoopBackOff"), last=Terminated(1, "Error", NOW, NOW))


def pod(*containers, init=(), policy="Always", gates=(), over=False):
    return PodRuntime("127.64.0.9", "127.0.0.1", NOW, policy, list(containers), list(init), gates, ended=over)


def conditions(runtime, previous=None, now=NOW):
    return {c["type"]: c for c in pod_status(runtime, previous or {}, now)["conditions"]}


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        (pod(ContainerState("c", "i")), "Pending"),
        (pod(running(), ContainerState("d", "i")), "Pending"),
        (pod(running()), "Running"),
        (pod(running(ready=False)), "Running"),
        (pod(crash_looping()), "Running"),
        (pod(ended(1, final=False)), "Running"),
        (pod(running(), ended(0), policy="Never"), "Running"),
        (pod(ended(0), ended(0, name="d"), policy="Never"), "Succeeded"),
        (pod(ended(0), ended(3, name="d"), policy="Never"), "Failed"),
        (pod(ended(0), over=True), "Succeeded"),
        (pod(ended(143), over=True), "Failed"),
        (pod(ContainerState("c", "i"), init=[running("init")]), "Pending"),
        (pod(ContainerState("c", "i"), init=[ended(1, name="init")], policy="Never"), "Failed"),
        (pod(running(), init=[ended(0, name="init")]), "Running"),
    ],
)
def test_phase(runtime, expected):
    assert phase(runtime) == expected


def test_a_running_ready_pod_is_ready():
    found = conditions(pod(running()))
    assert {kind: c["status"] for kind, c in found.items()} == {
        "PodScheduled": "True",
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "ContainersReady": "True",
        "Ready": "True",
    }


def test_unready_containers_are_named():
    found = conditions(pod(running("a"), running("b", ready=False)))
    assert found["Ready"]["reason"] == "ContainersNotReady"
    assert found["Ready"]["message"] == "containers with unready status: [b]"


def test_a_completed_pod_says_so():
    assert conditions(pod(ended(0), policy="Never"))["Ready"]["reason"] == "PodCompleted"


def test_readiness_gates_must_be_true():
    runtime = pod(running(), gates=("example.org/gate",))
    assert conditions(runtime)["Ready"]["reason"] == "ReadinessGatesNotReady"
    previous = {"conditions": [{"type": "example.org/gate", "status": "True"}]}
    assert conditions(runtime, previous)["Ready"]["status"] == "True"


def test_transition_times_change_only_with_the_status():
    runtime = pod(running())
    first = pod_status(runtime, {}, NOW)
    later = NOW + timedelta(minutes=1)
    assert pod_status(runtime, first, later) == first
    runtime.containers[0].ready = False
    found = conditions(runtime, first, later)
    assert found["Ready"]["lastTransitionTime"] == "2026-01-02T03:05:05Z"
    assert found["Initialized"]["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_container_status_carries_state_and_last_state():
    status = pod_status(pod(crash_looping()), {}, NOW)["containerStatuses"][0]
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff"}}
    assert status["lastState"]["terminated"]["exitCode"] == 1


def test_addresses_are_reported():
    status = pod_status(pod(running()), {}, NOW)
    assert (status["podIP"], status["podIPs"], status["hostIP"]) == ("127.64.0.9", [{"ip": "127.64.0.9"}], "127.0.0.1")


def test_a_container_that_ran_under_a_former_agent_counts_as_killed_and_restarted():
    previous = {"restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    state = restored({"name": "c", "image": "i"}, previous, NOW, restart_policy="Always")
    assert (state.restart_count, state.last.exit_code, state.final) == (3, 137, False)


@pytest.mark.parametrize(
    ("policy", "code", "final"), [("Never", 1, True), ("OnFailure", 0, True), ("Always", 0, False)]
)
def test_a_container_that_was_done_stays_done(policy, code, final):
    terminated = {"exitCode": code, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
    previous = {"restartCount": 0, "state": {"terminated": terminated}}
    assert restored({"name": "c", "image": "i"}, previous, NOW, restart_policy=policy).final is final


def test_back_off_doubles_up_to_its_limit():
    backoff, now, waits = RestartBackOff(10, 300), 0.0, []
    for _ in range(8):
        waits.append(backoff.wait_seconds(now))
        now += waits[-1] + 1
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_back_off_starts_over_after_a_long_run():
    backoff = RestartBackOff(10, 300)
    assert [backoff.wait_seconds(0), backoff.wait_seconds(1)] == [0, 10]
    assert backoff.wait_seconds(11 + 601) == 0
    assert backoff.wait_seconds(11 + 602) == 10


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_restart_policy(policy, code, again):
    assert restarts(policy, code) is again
