"""Schedules, under the names and where users of the incumbent look for them."""

from __future__ import annotations

from headgate.schedules import Cron as CronSchedule
from headgate.schedules import Interval as IntervalSchedule
from headgate.schedules import RRule as RRuleSchedule

__all__ = ["CronSchedule", "IntervalSchedule", "RRuleSchedule"]
