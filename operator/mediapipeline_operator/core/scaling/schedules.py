"""Schedules: bounds that are narrower for a time. A pure function of the spec and of `now`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from mediapipeline_operator.api.spec import MediaPipelineSpec, Schedule

_CLOCK_CHANGE = timedelta(hours=2)  # in an hour that comes twice, later local times may be earlier ones


class ScheduleError(ValueError):
    """A cron expression or a time zone that means nothing; the message says which and why."""


def check(schedule: Schedule, now: datetime) -> None:
    """Raises ScheduleError."""
    _last_beginning(schedule.cron, schedule.time_zone, _minute(now))


def is_active(schedule: Schedule, now: datetime) -> bool:
    """Whether its last beginning is less than durationSeconds ago. One that means nothing never holds.

    Beginnings are in the schedule's time zone. Where clocks change, one that the change skips comes by the old clock
    (02:30 becomes 03:30), and of one that comes twice the first counts.
    """
    try:
        beginning = _last_beginning(schedule.cron, schedule.time_zone, _minute(now))
    except ScheduleError:
        return False
    return beginning is not None and now < beginning + timedelta(seconds=schedule.duration_seconds)


def active(spec: MediaPipelineSpec, now: datetime) -> tuple[Schedule, ...]:
    """The schedules that hold at `now` (timezone-aware)."""
    return tuple(schedule for schedule in spec.autoscaling.schedules if is_active(schedule, now))


def bounds(spec: MediaPipelineSpec, now: datetime) -> tuple[int, int]:
    """(fewest, most) replicas at `now`: the highest minimum, the lowest maximum. If they cross, the minimum wins."""
    scaling, holding = spec.autoscaling, active(spec, now)
    fewest = max([scaling.min_replicas, *(one.min_replicas for one in holding if one.min_replicas is not None)])
    most = min([scaling.max_replicas, *(one.max_replicas for one in holding if one.max_replicas is not None)])
    return fewest, max(fewest, most)


def bounded(spec: MediaPipelineSpec, now: datetime) -> MediaPipelineSpec:
    """The spec with the bounds of `now` as minReplicas and maxReplicas."""
    if not spec.autoscaling.schedules:
        return spec
    fewest, most = bounds(spec, now)
    scaling = spec.autoscaling.model_copy(update={"min_replicas": fewest, "max_replicas": most})
    return spec.model_copy(update={"autoscaling": scaling})


def names(spec: MediaPipelineSpec, now: datetime) -> str:
    """ " by schedule a, b" for a sentence, empty when none holds."""
    holding = active(spec, now)
    if not holding:
        return ""
    return f" by schedule {', '.join(schedule.name for schedule in holding)}"


def _minute(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(second=0, microsecond=0)


@lru_cache(maxsize=4096)
def _last_beginning(cron: str, time_zone: str, minute: datetime) -> datetime | None:
    """The latest beginning at or before `minute`; None when there never was one."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f'timeZone "{time_zone}" is not in the tz database; write for example Europe/Berlin'
        ) from error
    latest = minute.astimezone(zone).replace(tzinfo=None) + _CLOCK_CHANGE
    try:
        times = (local.replace(tzinfo=zone).astimezone(UTC) for local in CronSim(cron, latest, reverse=True))
        return next((time for time in times if time <= minute), None)
    except CronSimError as error:
        text = f'cron "{cron}" does not parse ({error}); write minute, hour, day of month, month, day of week'
        raise ScheduleError(text) from error
