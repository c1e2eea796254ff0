import zoneinfo
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core import errors, schedules
from headgate.core.deployments import CronRule, IntervalRule, RecurrenceRule, ScheduleRule

NEW_YORK = "America/New_York"
# On 8 March 2026 the clocks there went from 2:00 to 3:00, on 1 November from 2:00 to 1:00.
BEFORE_SPRING = datetime(2026, 3, 8, 5, 50, tzinfo=UTC)  # 0:50 there
BEFORE_FALL = datetime(2026, 11, 1, 4, 50, tzinfo=UTC)  # 0:50 there
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
ANCHOR = datetime(2020, 1, 1, 14, 0, tzinfo=UTC)  # 9:00 in New York


def cron(expression: str, zone: str = "UTC", *, day_or: bool = True) -> CronRule:
    return CronRule(expression=expression, time_zone=zone, day_or=day_or)


def interval(seconds: float, zone: str = "UTC", anchor: datetime = ANCHOR) -> IntervalRule:
    return IntervalRule(interval_seconds=seconds, anchor_time=anchor, time_zone=zone)


def recurrence(rule: str, zone: str = "UTC") -> RecurrenceRule:
    return RecurrenceRule(rule=rule, time_zone=zone)


def shown(rule: ScheduleRule, after: datetime, count: int) -> list[str]:
    zone = zoneinfo.ZoneInfo(rule.time_zone)
    times = schedules.next_times(rule, after, count)
    assert all(time.tzinfo is UTC for time in times)
    return [time.astimezone(zone).strftime("%d. %H:%M:%S%z") for time in times]


@pytest.mark.parametrize(
    ("rule", "after", "expected"),
    [
        # Cron
        (cron("0 9 * * *"), NEW_YEAR, ["01. 09:00:00+0000", "02. 09:00:00+0000"]),
        (cron("@daily"), NEW_YEAR, ["02. 00:00:00+0000", "03. 00:00:00+0000"]),
        (cron("* * * * * */30"), NEW_YEAR, ["01. 00:00:30+0000", "01. 00:01:00+0000"]),
        (cron("0 0 13 * 5"), NEW_YEAR, ["02. 00:00:00+0000", "09. 00:00:00+0000"]),
        (cron("0 0 13 * 5", day_or=False), NEW_YEAR, ["13. 00:00:00+0000", "13. 00:00:00+0000"]),
        # ... by clock hours, each once, when clocks are set
        (cron("0 * * * *", NEW_YORK), BEFORE_SPRING, ["08. 01:00:00-0500", "08. 03:00:00-0400"]),
        (cron("0 * * * *", NEW_YORK), BEFORE_FALL, ["01. 01:00:00-0400", "01. 02:00:00-0500"]),
        (cron("30 1 * * *", NEW_YORK), BEFORE_FALL, ["01. 01:30:00-0400", "02. 01:30:00-0500"]),
        # ... at the jump, where the time does not occur
        (cron("30 2 * * *", NEW_YORK), BEFORE_SPRING, ["08. 03:00:00-0400", "09. 02:30:00-0400"]),
        (
            cron("*/30 2,3 * * *", NEW_YORK),
            BEFORE_SPRING,
            ["08. 03:00:00-0400", "08. 03:30:00-0400", "09. 02:00:00-0400"],
        ),
        # Intervals of whole days keep the wall-clock time, others do not
        (
            interval(86_400, NEW_YORK),
            BEFORE_SPRING,
            ["08. 09:00:00-0400", "09. 09:00:00-0400"],
        ),
        (interval(3_600, NEW_YORK), BEFORE_FALL, ["01. 01:00:00-0400", "01. 01:00:00-0500"]),
        (interval(90), NEW_YEAR, ["01. 00:01:30+0000", "01. 00:03:00+0000"]),
        (
            interval(7 * 86_400, anchor=datetime(2036, 1, 1, tzinfo=UTC)),
            NEW_YEAR,
            ["06. 00:00:00+0000", "13. 00:00:00+0000"],
        ),
        # Recurrence
        (
            recurrence("RRULE:FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0", NEW_YORK),
            BEFORE_SPRING,
            ["09. 09:00:00-0400", "16. 09:00:00-0400"],
        ),
        (
            recurrence("DTSTART:20260310T090000\nRRULE:FREQ=MONTHLY;UNTIL=20260411T090000"),
            NEW_YEAR,
            ["10. 09:00:00+0000", "10. 09:00:00+0000"],
        ),
        (
            recurrence("RRULE:FREQ=DAILY;UNTIL=20260103T000000Z"),
            NEW_YEAR,
            ["02. 00:00:00+0000", "03. 00:00:00+0000"],
        ),
        (
            recurrence("DTSTART;TZID=Europe/Berlin:20260310T090000\nRRULE:FREQ=DAILY", NEW_YORK),
            BEFORE_SPRING,
            ["10. 04:00:00-0400", "11. 04:00:00-0400"],
        ),
        (recurrence("RRULE:FREQ=DAILY;UNTIL=20200101T000000Z"), NEW_YEAR, []),
        (recurrence("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"), NEW_YEAR, ["29. 00:00:00+0000"] * 2),
    ],
)
def test_a_rule_gives_its_next_times(rule: ScheduleRule, after: datetime, expected: list[str]):
    assert shown(rule, after, max(2, len(expected))) == expected


RULES = [
    cron("*/7 * * * *", NEW_YORK),
    cron("*/20 1-3 * * *", NEW_YORK),
    interval(86_400, NEW_YORK),
    interval(5_400),
    recurrence("FREQ=HOURLY;INTERVAL=5", NEW_YORK),
    recurrence("FREQ=MINUTELY;INTERVAL=11", NEW_YORK),
    recurrence("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;BYHOUR=2;BYMINUTE=30;BYSECOND=0", NEW_YORK),
    recurrence("FREQ=MONTHLY;BYDAY=-1FR", NEW_YORK),
]


@given(
    rule=st.sampled_from(RULES),
    after=st.sampled_from([BEFORE_SPRING, BEFORE_FALL]),
    skipped=st.integers(0, 30),
)
def test_the_times_are_the_same_wherever_one_starts_to_ask(
    rule: ScheduleRule, after: datetime, skipped: int
):
    times = schedules.next_times(rule, after, 40)
    assert times == sorted(set(times))
    assert all(time > after for time in times)
    assert schedules.next_times(rule, times[skipped], 40 - skipped - 1) == times[skipped + 1 :]


@pytest.mark.parametrize(
    ("rule", "field", "says"),
    [
        (cron("61 * * * *"), "cron.expression", "The minute field is '61'; use 0 to 59"),
        (cron("0 25 * * *"), "cron.expression", "The hour field is '25'; use 0 to 23"),
        (cron("0 0 * foo *"), "cron.expression", "The month field is 'foo'"),
        (cron("0 0 * * 8"), "cron.expression", "The day of week field is '8'"),
        (cron("*/0 * * * *"), "cron.expression", "The minute field is '*/0'"),
        (cron("H * * * *"), "cron.expression", "H and R are not supported"),
        (cron("0 R(1-5) * * *"), "cron.expression", "H and R are not supported"),
        (cron("0 0 30 2 *"), "cron.expression", "never occurs"),
        (cron("* * *"), "cron.expression", "has 3 fields; use 5"),
        (cron("* * * * * * *"), "cron.expression", "has 7 fields; use 5"),
        (cron(""), "cron.expression", "has 0 fields"),
        (cron("@reboot"), "cron.expression", "no macro '@reboot'; use one of @yearly"),
        (cron("1," * 200), "cron.expression", "400 characters; use at most 255"),
        (cron("* * * * *", "Mars/Base"), "cron.time_zone", "no time zone 'Mars/Base'"),
        (cron("* * * * *", "../../etc/passwd"), "cron.time_zone", "no time zone"),
        (interval(0), "interval.interval", "use at least 1 s"),
        (interval(-5), "interval.interval", "use at least 1 s"),
        (interval(float("nan")), "interval.interval", "use at least 1 s"),
        (interval(1e12), "interval.interval", "use at most ten years"),
        (interval(60, "x"), "interval.time_zone", "no time zone 'x'"),
        (recurrence("FREQ=DAILY;COUNT=3"), "recurrence.rule", "COUNT is not supported"),
        (recurrence("every day"), "recurrence.rule", "no FREQ that is known"),
        (recurrence("FREQ=DAILY;BYHOUR=99"), "recurrence.rule", "no RFC 5545 recurrence rule"),
        (recurrence("FREQ=DAILY;INTERVAL=0"), "recurrence.rule", "INTERVAL is '0'"),
        (recurrence("FREQ=DAILY;INTERVAL=-1"), "recurrence.rule", "INTERVAL is '-1'"),
        (recurrence("FREQ=DAILY\nRRULE:FREQ=WEEKLY"), "recurrence.rule", "more than one rule"),
        (recurrence("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), "recurrence.rule", "never occurs"),
        (recurrence("FREQ=DAILY;" + "X" * 6_500), "recurrence.rule", "use at most 6500"),
        (recurrence("FREQ=DAILY", "x"), "recurrence.time_zone", "no time zone 'x'"),
    ],
)
def test_a_wrong_rule_is_refused_with_field_and_remedy(rule: ScheduleRule, field: str, says: str):
    (violation,) = schedules.validate(rule, "deployment.schedules[0]")
    assert violation.field == f"deployment.schedules[0].{field}"
    assert says in violation.description
    with pytest.raises(errors.InvalidArgument):
        schedules.next_times(rule, NEW_YEAR, 1)


@given(text=st.text(max_size=60))
def test_no_text_breaks_the_validation(text: str):
    for rule in (cron(text), cron("* * * * *", text), recurrence(text), recurrence("FREQ=" + text)):
        schedules.validate(rule)
