"""Drain, then delete: the victim, the verification, the way back."""

from dataclasses import replace
from datetime import timedelta

from mediapipeline_operator.api.reasons import EventReason
from mediapipeline_operator.core.scaling import (
    DecisionAction,
    MarkDraining,
    MarkFirst,
    Problem,
    ProblemKind,
    Reason,
    RequestDrain,
    RequestUndrain,
    SetReplicas,
    Unmark,
    to_ask,
)

DRAINED = {"ready": False, "draining": True, "admin_draining": True, "sessions": 0}


def draining(make, sessions=0, *, started=60.0, now=None, **facts):
    now = now or make.START
    values = DRAINED | {"sessions": sessions, "drain_started": now - timedelta(seconds=started)} | facts
    return make.pod("old", now=now, **values)


def fleet_with(make, *extra, n=2, sessions=1, **scaling):
    fleet = make.fleet(n, sessions=sessions, **scaling)
    return fleet.with_pods(*fleet.workload.pods, *extra)


def lowered(outcome):
    return [action for action in outcome.actions if isinstance(action, SetReplicas) and action.to < action.expect]


def marked(outcome):
    return [action.pod for action in outcome.actions if isinstance(action, MarkDraining)]


def test_a_drained_replica_is_removed_and_n_stays(make):
    outcome = fleet_with(make, draining(make)).tick()
    assert outcome.actions == (SetReplicas(to=2, expect=3),)
    assert outcome.decision.reason is Reason.REPLICA_DRAINED
    assert outcome.desired_replicas == 2


def gauges(outcome):
    return {
        name.removeprefix("mediapipeline_autoscaler_"): value for name, labels, value in outcome.metrics if not labels
    }


def test_gauges_tell_how_long_drains_last_and_for_how_many_sessions(make):
    outcome = fleet_with(make, draining(make, sessions=3, started=90.0)).tick()
    assert gauges(outcome)["drain_seconds"] == 90
    assert gauges(outcome)["drain_sessions"] == 3
    unknown = gauges(fleet_with(make, draining(make, sessions=None)).tick())
    assert "drain_seconds" in unknown
    assert "drain_sessions" not in unknown, "unknown is not 0"
    assert not {"drain_seconds", "drain_sessions"} & gauges(make.fleet(2, sessions=1).tick()).keys()


def test_it_stays_while_it_has_sessions(make):
    assert not lowered(fleet_with(make, draining(make, sessions=1)).tick())


def test_it_stays_while_it_has_not_answered(make):
    """Its gauge in Prometheus may be 0 and five seconds old; a client may have come since."""
    assert not lowered(fleet_with(make, draining(make, sessions=None)).tick())
    assert not lowered(fleet_with(make, draining(make, admin_draining=None)).tick())


def test_it_stays_while_it_is_ready(make):
    assert not lowered(fleet_with(make, draining(make, ready=True)).tick())


def test_it_stays_while_any_other_pod_is_unready(make):
    """The ReplicaSet deletes unready pods before it looks at the deletion cost: the other one would go."""
    sick = make.pod("sick", ready=False)
    assert not lowered(fleet_with(make, draining(make), sick).tick())


def test_it_stays_while_the_data_is_unknown(make):
    fleet = fleet_with(make, draining(make))
    blind = replace(fleet, signals=replace(fleet.signals, problem=Problem(ProblemKind.DOWN, "")))
    assert not lowered(blind.tick())


def test_removal_is_seen_through_before_the_next_step(make):
    first = fleet_with(make, draining(make)).tick()
    assert [record.removing for record in first.state.drains] == [True]
    fleet = fleet_with(make, draining(make)).after(1, first)
    surplus = replace(fleet, workload=replace(fleet.workload, replicas=2))
    waiting = surplus.tick()
    assert waiting.actions == ()
    assert waiting.decision.from_replicas == 2  # the leaving pod no longer counts as a draining one
    gone = replace(surplus.after(1, waiting), workload=make.fleet(2).workload).tick()
    assert [event.reason for event in gone.events] == [EventReason.DRAIN_COMPLETED]


def test_a_pod_that_vanishes_while_draining_is_told(make):
    first = fleet_with(make, draining(make, sessions=3)).tick()
    gone = make.fleet(3).after(10, first).tick()
    assert EventReason.DRAIN_CANCELLED in [event.reason for event in gone.events]


def test_capacity_is_needed_so_the_drain_is_undone_first(make):
    outcome = fleet_with(make, draining(make, sessions=5), sessions=8).tick()
    assert outcome.actions[:2] == (Unmark("old", "uid-old"), RequestUndrain("old", "uid-old", "127.64.0.1"))
    assert outcome.decision.to_replicas == 3
    assert outcome.actions[2:] == ()
    assert {event.reason for event in outcome.events} == {EventReason.SCALED_UP, EventReason.DRAIN_CANCELLED}


def test_undrain_and_new_replicas_together(make):
    outcome = fleet_with(make, draining(make, sessions=5), sessions=8, growth=0.35).tick()
    assert SetReplicas(to=5, expect=3) in outcome.actions
    assert outcome.actions[0] == Unmark("old", "uid-old")


def test_the_deployment_never_exceeds_the_maximum_with_drains(make):
    outcome = fleet_with(make, draining(make, sessions=5), sessions=8, growth=5.0, maxReplicas=3).tick()
    assert make.raised(outcome) is None
    assert outcome.decision.to_replicas == 3


def test_victim_not_ready_first_then_fewest_sessions_then_newest(make):
    fleet = make.fleet(4, sessions=1).settle(110)
    seen = dict(fleet.signals.pods)
    seen["pod-2"] = make.pod_signals(0)
    light = replace(fleet, signals=replace(fleet.signals, pods=seen))
    assert marked(light.tick()) == ["pod-2"]
    pods = list(light.workload.pods)
    pods[1] = make.pod("pod-1", age=300.0)
    assert marked(fleet.with_pods(*pods).tick()) == ["pod-1"]
    pods[3] = make.pod("pod-3", age=500.0, ready=False)
    assert marked(light.with_pods(*pods).tick()) == ["pod-3"]


def test_a_pod_without_any_answer_is_the_last_to_choose(make):
    fleet = make.fleet(5, sessions=1).settle(110)
    silent = {name: seen for name, seen in fleet.signals.pods.items() if name != "pod-4"}
    assert marked(replace(fleet, signals=replace(fleet.signals, pods=silent)).tick()) != ["pod-4"]


def test_another_pod_becomes_empty_so_it_goes_instead(make):
    fleet = make.fleet(3, sessions=1)
    empty = make.pod("pod-2", sessions=0, admin_draining=False)
    outcome = fleet.with_pods(*fleet.workload.pods[:2], draining(make, sessions=2), empty).tick()
    assert outcome.decision.reason is Reason.VICTIM_SWAPPED
    assert [type(action) for action in outcome.actions] == [Unmark, RequestUndrain, MarkDraining, RequestDrain]
    assert marked(outcome) == ["pod-2"]


def test_marked_pods_are_asked_again_unmarked_ones_are_undrained(make):
    """A restarted container forgets that it drains; a lost un-drain keeps a replica out of service for ever."""
    forgot = draining(make, sessions=3, admin_draining=False)
    stray = make.pod("stray", ready=False, admin_draining=True, sessions=0)
    fleet = make.fleet(2, sessions=4)
    outcome = fleet.with_pods(*fleet.workload.pods, forgot, stray).tick()
    assert RequestDrain("old", "uid-old", "127.64.0.1") in outcome.actions
    assert RequestUndrain("stray", "uid-stray", "127.64.0.1") in outcome.actions


def test_keep_waits_on_after_the_time_and_says_so_once(make):
    fleet = fleet_with(make, draining(make, sessions=1, started=1700), drain={"timeoutSeconds": 1800})
    outcomes = fleet.run(600)
    assert not any(lowered(outcome) for outcome in outcomes)
    assert [event.reason for outcome in outcomes for event in outcome.events] == [EventReason.DRAIN_TIMED_OUT]


def test_force_ends_the_sessions_after_the_time_not_before(make):
    force = {"timeoutSeconds": 1800, "onTimeout": "Force"}
    early = fleet_with(make, draining(make, sessions=1, started=1790), drain=force).tick()
    late = fleet_with(make, draining(make, sessions=1, started=1800), drain=force).tick()
    assert not lowered(early)
    assert lowered(late)
    assert late.decision.reason is Reason.DRAIN_FORCED


def test_a_lost_annotation_makes_the_wait_longer_never_shorter(make):
    force = {"timeoutSeconds": 60, "onTimeout": "Force"}
    fleet = fleet_with(make, draining(make, sessions=1, drain_started=None), drain=force)
    outcomes = fleet.run(60)
    assert [bool(lowered(outcome)) for outcome in outcomes] == [False] * 6 + [True]


def test_one_drain_at_a_time_unless_more_are_allowed(make):
    def quiet(**scaling):
        fleet = make.fleet(6, sessions=1, **scaling)
        return fleet.settle(110).with_pods(*fleet.workload.pods, draining(make, sessions=1))

    assert marked(quiet().tick()) == []
    assert len(marked(quiet(drain={"maxParallel": 2}).tick())) == 1


def test_an_operator_that_starts_anew_goes_on_with_the_drain_from_the_label_alone(make):
    outcome = fleet_with(make, draining(make, sessions=3)).tick()
    assert outcome.decision.from_replicas == 2
    assert [record.uid for record in outcome.state.drains] == ["uid-old"]


def test_paused_undoes_drains(make):
    outcome = fleet_with(make, draining(make, sessions=3), paused=True).tick()
    assert outcome.actions == (Unmark("old", "uid-old"), RequestUndrain("old", "uid-old", "127.64.0.1"))


def test_engine_none_carries_replicas_out_by_draining(make):
    fleet = make.fleet(4, engine="None", replicas=2)
    outcome = fleet.tick()
    assert len(marked(outcome)) == 1
    assert outcome.decision.to_replicas == 3
    assert make.raised(make.fleet(1, engine="None", replicas=3).tick()) == 3


def test_engine_none_needs_no_metrics(make):
    fleet = make.fleet(4, engine="None", replicas=3)
    blind = replace(fleet, signals=replace(fleet.signals, problem=Problem(ProblemKind.DOWN, "")))
    assert len(marked(blind.tick())) == 1
    drained = fleet_with(make, draining(make), engine="None", replicas=2)
    assert lowered(replace(drained, signals=blind.signals).tick())


def test_a_pod_that_never_got_an_address_can_be_removed(make):
    pending = make.pod("stuck", ready=False, draining=True, drain_started=make.START)
    fleet = make.fleet(2, engine="None", replicas=2)
    assert lowered(fleet.with_pods(*fleet.workload.pods, replace(pending, address=None)).tick())


def test_who_is_asked(make):
    ready, sick, old = make.pod("a"), make.pod("b", ready=False), draining(make)
    assert to_ask((ready,)) == ()
    assert to_ask((ready, sick)) == ("uid-b",)
    assert to_ask((ready, old)) == ("uid-a", "uid-old")
    assert to_ask((replace(old, terminating=True),)) == ()


def test_advisory_undoes_a_drain_and_starts_none(make):
    outcome = fleet_with(make, draining(make, sessions=3), mode="Advisory").tick()
    assert [type(action) for action in outcome.actions] == [Unmark, RequestUndrain]
    assert outcome.decision.action is DecisionAction.HOLD


def several(make, *pods, **scaling):
    return fleet_with(make, *pods, drain={"maxParallel": 3}, **scaling)


def test_an_empty_one_does_not_wait_for_a_slower_one(make):
    """Its deletion cost is lowered first, replicas only when that is seen: the ReplicaSet could take the other."""
    slow, empty = draining(make, sessions=2), replace(draining(make), name="quick", uid="uid-quick")
    first = several(make, slow, empty).tick()
    assert first.actions == (MarkFirst("quick", "uid-quick"),)
    assert "let quick go first" in first.text
    again = several(make, slow, empty).tick()
    assert again.actions == first.actions, "an operator that died in between does it again"
    assert lowered(several(make, slow, replace(empty, goes_first=True)).tick())


def test_nobody_goes_first_while_the_ranking_is_not_sure(make):
    slow, empty = draining(make, sessions=2), replace(draining(make), name="quick", uid="uid-quick")
    first = replace(empty, goes_first=True)
    sick, silent = make.pod("sick", ready=False), replace(slow, admin_draining=None, sessions=None)
    both = replace(slow, goes_first=True)
    for others in ((slow, sick), (silent,), (both,)):
        assert not lowered(several(make, first, *others).tick())
        assert not lowered(several(make, empty, *others).tick())
    full = replace(first, sessions=1)
    assert not lowered(several(make, full, slow).tick()), "it is asked in every pass"


def test_engine_none_lets_the_empty_one_go_first_too(make):
    slow, empty = draining(make, sessions=2), replace(draining(make), name="quick", uid="uid-quick")
    outcome = several(make, slow, empty, engine="None", replicas=2).tick()
    assert MarkFirst("quick", "uid-quick") in outcome.actions
