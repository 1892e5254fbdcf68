"""The demo's story and verdict: it ends well only when the pipeline really scaled up and drained down again."""

from dataclasses import replace

import pytest

from devcluster.demo.observation import LoadStatus, Observation, observe
from devcluster.demo.story import Phase, Story, StoryPlan, advance, begin
from devcluster.demo.verdict import FrameFacts, checks, failures

PLAN = StoryPlan()
GOOD_FRAMES = FrameFacts(
    received=1000,
    accounted=1000,
    sent=1000,
    returned=980,
    sent_outside_overload=500,
    returned_processed_outside_overload=490,
    inspected=20,
    effect_seen=20,
    effect_missing=0,
    number_mismatches=0,
)


def look(at: float, desired: int = 2, **changes: object) -> Observation:
    load = LoadStatus(wanted=4, connected=4)
    base = Observation(at, replicas=desired, ready=desired, desired=desired, data_state="Fresh", load=load)
    return replace(base, **changes)


def play(looks: list[Observation]) -> Story:
    story = begin(PLAN)
    for seen in looks:
        story = advance(PLAN, story, seen)
    return story


CALM = [look(0), look(12)]
UP = [look(30, 3), look(39, 3)]
DRAIN = look(60, 2, replicas=3, ready=3, draining=1, drains=({"pod": "demo-1"},))


def test_calm_then_overload_then_drained_down_is_done() -> None:
    assert play([*CALM, *UP, DRAIN, look(70)]).phase is Phase.DONE


def test_a_scale_down_without_a_drain_is_not_done() -> None:
    assert play([*CALM, *UP, look(70)]).phase is Phase.RELIEF


def test_sessions_grow_one_by_one_up_to_the_peak() -> None:
    story = play([*CALM, look(15)])
    assert story.sessions == PLAN.calm_sessions + 3
    assert play([*CALM, look(90)]).sessions == PLAN.peak_sessions


def test_no_scale_up_in_time_fails_with_the_last_decision() -> None:
    story = play([*CALM, look(14), look(110, decision={"message": "hold at 2: Advisory"})])
    assert story.phase is Phase.FAILED
    assert "did not scale up from 2" in story.failure
    assert "Advisory" in story.failure


def test_missing_metrics_fail_in_the_calm_phase() -> None:
    story = play([look(0, data_state="Missing"), look(61, data_state="Missing")])
    assert "no fresh measurement" in story.failure


def test_never_drained_fails() -> None:
    story = play([*CALM, *UP, look(200, 3)])
    assert "did not drain down from 3 to 2" in story.failure


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, set()),
        ({"accounted": 999}, {"every received frame is accounted for"}),
        ({"effect_missing": 1}, {"the effect is in the returned pictures"}),
        ({"effect_seen": 0}, {"the effect is in the returned pictures"}),
        ({"number_mismatches": 0}, set()),
        ({"number_mismatches": 1}, {"the effect is in the returned pictures"}),
        ({"returned_processed_outside_overload": 400}, {"at least 95% of frames came back"}),
    ],
)
def test_each_frame_check_fails_on_its_own(change: dict[str, int], failed: set[str]) -> None:
    looks = [*CALM, *UP, DRAIN, look(70)]
    results = checks(play(looks), looks, replace(GOOD_FRAMES, **change))
    assert {check.name for check in failures(results)} == failed


def test_a_killed_session_fails_the_demo_at_once() -> None:
    looks = [*CALM, *UP, DRAIN, look(70, load=LoadStatus(ended_by_server=1))]
    story = play(looks)
    assert (story.phase, story.failure) == (Phase.FAILED, "1 sessions were ended by the service")
    assert "no session was killed by scaling" in {c.name for c in failures(checks(story, looks, GOOD_FRAMES))}


def test_pictures_without_the_effect_fail_the_demo_at_once() -> None:
    story = play([look(0), look(3, load=LoadStatus(effect_missing=PLAN.missing_effects))])
    assert "lack the effect" in story.failure


def test_observation_of_a_resource_without_status() -> None:
    seen = observe(1.0, {"metadata": {}}, LoadStatus())
    assert (seen.replicas, seen.p95_milliseconds, seen.data_state) == (0, None, "-")
