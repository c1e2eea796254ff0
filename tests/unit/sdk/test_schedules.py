"""Schedules as flow authors write them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headgate import schedules
from headgate.core import deployments, errors


def test_cron_becomes_a_rule():
    made = schedules.Cron("0 9 * * *", timezone="Europe/Berlin", parameters={"x": 1}, slug="daily")
    assert made.rule == deployments.CronRule(expression="0 9 * * *", time_zone="Europe/Berlin")
    assert (made.active, made.parameters, made.slug) == (True, {"x": 1}, "daily")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(timedelta(minutes=15), 900), (900, 900), (1.5, 1.5), ("PT15M", 900)],
    ids=str,
)
def test_an_interval_is_written_in_many_ways(given: Any, seconds: float):
    rule = schedules.Interval(given).rule
    assert isinstance(rule, deployments.IntervalRule)
    assert rule.interval_seconds == seconds
    assert rule.anchor_time.tzinfo is not None


def test_an_anchor_without_zone_is_utc():
    rule = schedules.Interval(60, anchor_date=datetime(2026, 1, 1)).rule  # noqa: DTZ001  # what is tested
    assert isinstance(rule, deployments.IntervalRule)
    assert rule.anchor_time == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.Cron("every day"),
        lambda: schedules.Cron("* * * * *", timezone="Middle/Earth"),
        lambda: schedules.Interval(0),
        lambda: schedules.Interval("soon"),
        lambda: schedules.RRule("RRULE:FREQ=SOMETIMES"),
    ],
    ids=["cron", "time zone", "interval", "interval text", "recurrence"],
)
def test_a_wrong_rule_is_refused_where_it_is_written(make):
    with pytest.raises(errors.InvalidArgument) as caught:
        make()
    assert caught.value.violations


def test_nothing_given_leaves_what_the_server_has():
    assert schedules.construct() is None
    assert schedules.construct(schedules=[]) == []


def test_several_of_a_kind_make_several_schedules():
    made = schedules.construct(cron=["0 1 * * *", "0 2 * * *"], timezone="Asia/Tokyo")
    assert made is not None
    assert [item.rule for item in made] == [
        deployments.CronRule(expression=f"0 {hour} * * *", time_zone="Asia/Tokyo")
        for hour in (1, 2)
    ]


def test_dictionaries_are_schedules_too():
    made = schedules.construct(schedule={"interval": 60, "active": False, "slug": "often"})
    assert made is not None
    assert (made[0].active, made[0].slug) == (False, "often")


@pytest.mark.parametrize(
    "given",
    [
        {"cron": "* * * * *", "interval": 60},
        {"cron": "* * * * *", "anchor_date": datetime(2026, 1, 1, tzinfo=UTC)},
        {"schedules": [], "timezone": "UTC"},
        {"schedule": {"slug": "x"}},
        {"schedule": "daily"},
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any]):
    with pytest.raises(errors.InvalidArgument):
        schedules.construct(**given)


def test_an_option_that_a_schedule_does_not_have_is_named():
    with pytest.raises(errors.OptionTypeError, match=r"Cron has no .* 'timezon'; .* timezone\?"):
        schedules.construct(schedule={"cron": "* * * * *", "timezon": "UTC"})
