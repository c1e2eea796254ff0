"""Schedules, under the names and where users of the incumbent look for them."""

from __future__ import annotations

from datetime import datetime, timedelta

from headgate.core import errors
from headgate.schedules import Cron as CronSchedule
from headgate.schedules import Interval as IntervalSchedule
from headgate.schedules import RRule as RRuleSchedule
from headgate.schedules import Schedule, construct


def construct_schedule(
    interval: int | float | timedelta | None = None,
    anchor_date: datetime | None = None,
    cron: str | None = None,
    rrule: str | None = None,
    timezone: str | None = None,
) -> Schedule:
    """Make the schedule that one of these says.

    Args:
        interval: A ``timedelta``, or seconds.
        anchor_date: Goes with ``interval``.
        cron: A cron expression.
        rrule: A recurrence rule.
        timezone: Goes with each of them.

    Raises:
        InvalidArgument: None, or more than one, is given, or it is wrong.
    """
    made = construct(
        interval=interval, anchor_date=anchor_date, cron=cron, rrule=rrule, timezone=timezone
    )
    if not made:
        raise errors.InvalidArgument.of("schedule", "Give one of interval, cron and rrule.")
    return made[0]


__all__ = ["CronSchedule", "IntervalSchedule", "RRuleSchedule", "construct_schedule"]
