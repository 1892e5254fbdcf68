"""Schedules: narrower bounds at their time, in their time zone, through changes of the clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mediapipeline_operator.api.spec import Schedule
from mediapipeline_operator.core.scaling import DecisionAction, Reason
from mediapipeline_operator.core.scaling.schedules import ScheduleError, bounds, check, is_active


def schedule(cron="0 8 * * MON-FRI", zone="UTC", seconds=3600, name="day", **limits):
    body = {"name": name, "cron": cron, "timeZone": zone, "durationSeconds": seconds, **(limits or {"minReplicas": 3})}
    return Schedule.model_validate(body)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "holds"),
    [
        ("2026-11-20 07:59:59", False),
        ("2026-11-20 08:00:00", True),
        ("2026-11-20 08:59:59", True),
        ("2026-11-20 09:00:00", False),
        ("2026-11-21 08:30:00", False),  # a Saturday
    ],
)
def test_it_holds_from_its_beginning_for_its_duration(time, holds):
    assert is_active(schedule(), at(time)) is holds


def test_its_beginning_is_in_its_time_zone():
    berlin = schedule(zone="Europe/Berlin")
    assert is_active(berlin, at("2026-11-20 07:00:00"))
    assert not is_active(berlin, at("2026-11-20 08:00:00"))
    assert is_active(berlin, at("2026-07-20 06:00:00"))


def test_a_long_one_reaches_into_the_next_days():
    weekend = schedule("0 18 * * FRI", seconds=2 * 86400)
    assert is_active(weekend, at("2026-11-22 17:59:00"))
    assert not is_active(weekend, at("2026-11-22 18:00:00"))


@pytest.mark.parametrize(
    ("time", "holds"),
    [
        ("2026-03-29 01:29:00", False),
        ("2026-03-29 01:30:00", True),  # 02:30 does not exist in Berlin on this day; it is 03:30
        ("2026-10-25 00:29:00", False),
        ("2026-10-25 00:30:00", True),  # the first of two 02:30
        ("2026-10-25 00:59:00", True),
        ("2026-10-25 01:35:00", False),  # not once more at the second
    ],
)
def test_changes_of_the_clock(time, holds):
    assert is_active(schedule("30 2 * * *", "Europe/Berlin", 1800), at(time)) is holds


@pytest.mark.parametrize(
    ("cron", "zone", "word"),
    [("61 8 * * *", "UTC", "61 8"), ("a b c d e", "UTC", "a b"), ("0 8 * * *", "Mars/Base", "Mars/Base")],
)
def test_nonsense_is_named_and_never_holds(cron, zone, word):
    with pytest.raises(ScheduleError, match=word):
        check(schedule(cron, zone), at("2026-11-20 08:00:00"))
    assert not is_active(schedule(cron, zone), at("2026-11-20 08:00:00"))


def test_a_day_that_never_comes_never_holds():
    never = schedule("0 8 30 2 *")
    assert not is_active(never, at("2026-11-20 08:00:00"))


def holding(make, *schedules, n=3, **scaling):
    given = [{**one.model_dump(by_alias=True, exclude_none=True)} for one in schedules]
    return replace(make.fleet(n, sessions=1, schedules=given, **scaling), now=at("2026-11-20 08:10:00"))


def test_the_highest_minimum_and_the_lowest_maximum_hold_and_the_minimum_wins(make):
    fleet = holding(
        make,
        schedule(name="a", minReplicas=4, maxReplicas=9),
        schedule(name="b", minReplicas=3, maxReplicas=6),
        schedule("0 20 * * *", name="evening", minReplicas=10),
    )
    assert bounds(fleet.spec, fleet.now) == (4, 6)
    crossed = holding(make, schedule(name="a", minReplicas=7), schedule(name="b", maxReplicas=5))
    assert bounds(crossed.spec, crossed.now) == (7, 7)


def test_a_minimum_raises_at_once_and_says_why(make):
    outcome = holding(make, schedule(minReplicas=6)).tick()
    assert (outcome.decision.to_replicas, outcome.decision.reason) == (6, Reason.BELOW_MINIMUM)
    assert "minReplicas is 6 by schedule day" in outcome.text


def test_a_maximum_lowers_by_draining_and_says_why(make):
    fleet = holding(make, schedule(maxReplicas=2))
    for index, pod in enumerate(fleet.workload.pods):
        ready = replace(pod, created=fleet.now - timedelta(hours=1), ready_since=fleet.now - timedelta(hours=1))
        fleet = fleet.with_pods(*fleet.workload.pods[:index], ready, *fleet.workload.pods[index + 1 :])
    outcome = fleet.tick()
    assert outcome.decision.action is DecisionAction.DOWN
    assert "maxReplicas is 2 by schedule day" in outcome.text
