"""When a deployment runs by itself: the times that a rule gives, and what is wrong with a rule.

Rules speak of wall-clock time in a time zone, and such a clock is set twice a year. Three facts
hold for all rules here:

- A time that occurs twice (clocks set back) counts once, the first time.
- A time that does not occur (clocks set forward) counts as the moment of the jump, once.
- Intervals of whole days keep the wall-clock time; others are fixed distances of time.
"""

from __future__ import annotations

import math
import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Literal

from headgate.core.deployments import CronRule, IntervalRule, RecurrenceRule, ScheduleRule
from headgate.core.errors import InvalidArgument, Violation

# croniter and dateutil take some 60 ms to load, and few processes ever ask for times: they are
# imported where they are used.
if TYPE_CHECKING:
    from dateutil.rrule import rrule

EXPRESSION_CHARACTERS_MAX = 255
RECURRENCE_CHARACTERS_MAX = 6_500
RECURRENCE_INTERVAL_MAX = 100_000
INTERVAL_SECONDS_MIN = 1.0
INTERVAL_SECONDS_MAX = 10 * 366 * 86_400.0


def next_times(rule: ScheduleRule, after: datetime, count: int) -> list[datetime]:
    """Return the next times that a rule gives, at most count, ascending.

    Args:
        rule: A valid rule (see :func:`validate`).
        after: Only times later than this, UTC-aware.
        count: How many at most; fewer where the rule ends.

    Raises:
        InvalidArgument: The rule is not valid.
    """
    violations = validate(rule)
    if violations:
        raise InvalidArgument(violations)
    return list(islice(_times(rule, after), count))


def validate(rule: ScheduleRule, field: str = "schedule") -> list[Violation]:
    """Return what is wrong with a rule; nothing where it is valid.

    Args:
        rule: The rule.
        field: The path of the schedule that it belongs to, for the violations.
    """
    match rule:
        case CronRule():
            return _time_zone_violations(rule.time_zone, f"{field}.cron") + [
                Violation(f"{field}.cron.expression", text)
                for text in _cron_faults(rule.expression, day_or=rule.day_or)
            ]
        case IntervalRule():
            return _time_zone_violations(rule.time_zone, f"{field}.interval") + [
                Violation(f"{field}.interval.interval", text)
                for text in _interval_faults(rule.interval_seconds)
            ]
        case RecurrenceRule():
            return _time_zone_violations(rule.time_zone, f"{field}.recurrence") + [
                Violation(f"{field}.recurrence.rule", text)
                for text in _recurrence_faults(rule.rule)
            ]


def _times(rule: ScheduleRule, after: datetime) -> Iterator[datetime]:
    zone = zoneinfo.ZoneInfo(rule.time_zone)
    match rule:
        case CronRule():
            return _later(_cron_walls(rule, after.astimezone(zone)), zone, after)
        case IntervalRule():
            whole_days = (rule.interval_seconds / 86_400).is_integer()
            if whole_days:
                return _later(_interval_walls(rule, after.astimezone(zone), zone), zone, after)
            return _interval_moments(rule, after)
        case RecurrenceRule():
            return _later(_recurrence_walls(rule, after.astimezone(zone), zone), zone, after)


def _later(
    walls: Iterator[datetime], zone: zoneinfo.ZoneInfo, after: datetime
) -> Iterator[datetime]:
    """Turn ascending wall-clock times into ascending moments, each once, later than after."""
    last = after
    for wall in walls:
        moment = _moment(wall, zone)
        if moment > last:
            last = moment
            yield moment


def _moment(wall: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    """Return the moment of a wall-clock time: of two the first, of none that of the jump."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # The wall-clock time does not occur: with the offset of before the jump it lies behind the
    # jump (here), with the offset of after it before. Halve the way until the second is found.
    low = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    high = moment
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    # Jumps are at whole seconds, and the halves are not.
    return high.replace(microsecond=0)


# --- Cron -----------------------------------------------------------------------------------

_CRON_FIELDS = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or jan to dec"),
    ("day of week", "0 to 7 (0 and 7 are Sunday), or sun to sat"),
    ("second", "0 to 59"),
)
_CRON_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_HASHED = re.compile(r"(?<![a-z])[hr](?![a-z])", re.IGNORECASE)


def _cron_walls(rule: CronRule, after: datetime) -> Iterator[datetime]:
    from croniter import CroniterBadDateError, croniter

    # Without a time zone, croniter counts on an even clock; zones are _moment's business. An
    # hour earlier, because the clock may just have been set back.
    start = after.replace(tzinfo=None, microsecond=0) - timedelta(hours=1)
    try:
        times = croniter(rule.expression, start, day_or=rule.day_or)
        while True:
            yield times.get_next(datetime)
    except (CroniterBadDateError, OverflowError):
        return  # no time in the next 50 years


def _cron_faults(expression: str, *, day_or: bool) -> list[str]:
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        return [f"It has {len(expression)} characters; use at most {EXPRESSION_CHARACTERS_MAX}."]
    if expression.startswith("@"):
        if expression in _CRON_MACROS:
            return []
        return [f"There is no macro {expression!r}; use one of {', '.join(_CRON_MACROS)}."]
    fields = expression.split()
    if len(fields) not in (5, 6):
        return [
            f"{expression!r} has {len(fields)} field{'' if len(fields) == 1 else 's'}; use 5 "
            "(minute, hour, day of month, month, day of week), e.g. '0 9 * * mon-fri', or 6 with "
            "seconds at the end."
        ]
    faults = [
        fault for index, text in enumerate(fields) if (fault := _cron_field_fault(index, text))
    ]
    return faults or _cron_whole_faults(expression, day_or=day_or)


def _cron_field_fault(index: int, text: str) -> str | None:
    from croniter import croniter

    name, allowed = _CRON_FIELDS[index]
    if _HASHED.search(text):
        return f"The {name} field is {text!r}; H and R are not supported, write {allowed}."
    alone = ["*"] * max(5, index + 1)
    alone[index] = text
    try:
        croniter.expand(" ".join(alone))
    except (ValueError, TypeError, KeyError, IndexError):
        return f"The {name} field is {text!r}; use {allowed}, with *, lists, ranges or steps."
    return None


def _cron_whole_faults(expression: str, *, day_or: bool) -> list[str]:
    from croniter import CroniterBadDateError, croniter

    try:
        croniter(expression, datetime(2024, 1, 1), day_or=day_or).get_next(datetime)  # noqa: DTZ001 - an even clock, see _cron_walls
    except CroniterBadDateError:
        return [f"{expression!r} never occurs; change the day of month or the month."]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        return [f"{expression!r} is no cron expression ({error}); use e.g. '0 9 * * mon-fri'."]
    return []


# --- Interval -------------------------------------------------------------------------------


def _interval_moments(rule: IntervalRule, after: datetime) -> Iterator[datetime]:
    interval = timedelta(seconds=rule.interval_seconds)
    # Whole numbers of intervals from the anchor, never a sum: nothing drifts.
    count = (after - rule.anchor_time) // interval + 1
    try:
        while True:
            yield (rule.anchor_time + count * interval).astimezone(UTC)
            count += 1
    except OverflowError:
        return  # the year 10000


def _interval_walls(
    rule: IntervalRule, after: datetime, zone: zoneinfo.ZoneInfo
) -> Iterator[datetime]:
    interval = timedelta(seconds=rule.interval_seconds)
    anchor = rule.anchor_time.astimezone(zone).replace(tzinfo=None)
    count = (after.replace(tzinfo=None) - anchor) // interval
    try:
        while True:
            yield anchor + count * interval
            count += 1
    except OverflowError:
        return  # the year 10000


def _interval_faults(seconds: float) -> list[str]:
    if not math.isfinite(seconds) or seconds < INTERVAL_SECONDS_MIN:
        return [f"The interval is {seconds:g} s; use at least 1 s."]
    if seconds > INTERVAL_SECONDS_MAX:
        return [f"The interval is {seconds:g} s; use at most ten years."]
    return []


# --- Recurrence -----------------------------------------------------------------------------

#: Where a rule has no DTSTART. Fixed, so that every server and every day counts from the same:
#: a Monday, the first of a year.
_DEFAULT_START = datetime(2018, 1, 1)  # noqa: DTZ001 - wall-clock time in the rule's zone

#: The calendar, weekdays included, repeats after 400 years, which have this many days.
_CYCLE = timedelta(days=146_097)

_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
_UNIT = {
    "WEEKLY": timedelta(weeks=1),
    "DAILY": timedelta(days=1),
    "HOURLY": timedelta(hours=1),
    "MINUTELY": timedelta(minutes=1),
    "SECONDLY": timedelta(seconds=1),
}
_UNTIL_UTC = re.compile(r"UNTIL=\w+Z", re.IGNORECASE)
_PART = re.compile(r"(?:^|[;:\s])(FREQ|INTERVAL|COUNT|BYEASTER)=([^;\s]*)", re.IGNORECASE)


def _recurrence_walls(
    rule: RecurrenceRule, after: datetime, zone: zoneinfo.ZoneInfo
) -> Iterator[datetime]:
    parsed = _parse_recurrence(rule.rule, zone)
    # An hour earlier, because the clock may just have been set back.
    base = after.replace(tzinfo=None) - timedelta(hours=1)
    parts = _recurrence_parts(rule.rule)
    start = _bound(parsed, "dtstart") or _DEFAULT_START
    unit = _UNIT.get(parts["FREQ"])
    if unit is not None and start < base:
        # dateutil walks from the start; jump near to now by whole intervals, which changes
        # nothing in what follows.
        step = unit * int(parts.get("INTERVAL", "1"))
        start += (base - start) // step * step
    return _walk(parsed, start, max(start, base))


def _walk(rule: rrule, start: datetime, base: datetime) -> Iterator[datetime]:
    """Yield the times of a rule from base on.

    dateutil follows a rule to the year 9999 before it says that there is nothing more, and takes
    seconds to get there. So the walk takes place in the last centuries before that, where the
    calendar is the same as today, and ends soon.
    """
    shift = _CYCLE * max(0, (9_900 - base.year) // 400)
    until = _bound(rule, "until")
    try:
        until = until + shift if until else None
    except OverflowError:
        until = None
    shifted = rule.replace(dtstart=start + shift, until=until)
    return (time - shift for time in shifted.xafter(base + shift, inc=True))


def _bound(rule: rrule, name: Literal["dtstart", "until"]) -> datetime | None:
    """Return a bound of a rule; dateutil takes them and has no public way to ask."""
    return getattr(rule, f"_{name}")


def _parse_recurrence(text: str, zone: zoneinfo.ZoneInfo) -> rrule:
    """Parse a rule into one of wall-clock times; raises ValueError and its like."""
    from dateutil.rrule import rrule, rrulestr

    # An UNTIL in UTC asks for a start with a time zone, one without for a start without.
    aware = _UNTIL_UTC.search(text) is not None
    parsed = rrulestr(text, dtstart=_DEFAULT_START.replace(tzinfo=zone if aware else None))
    if not isinstance(parsed, rrule):
        msg = "it is more than one rule"
        raise ValueError(msg)
    start, until = (_wall(_bound(parsed, name), zone) for name in ("dtstart", "until"))
    return parsed.replace(dtstart=start, until=until)


def _wall(time: datetime | None, zone: zoneinfo.ZoneInfo) -> datetime | None:
    if time is None or time.tzinfo is None:
        return time
    return time.astimezone(zone).replace(tzinfo=None)


def _recurrence_parts(text: str) -> dict[str, str]:
    return {name.upper(): value.upper() for name, value in _PART.findall(text)}


def _recurrence_faults(text: str) -> list[str]:
    if len(text) > RECURRENCE_CHARACTERS_MAX:
        return [f"It has {len(text)} characters; use at most {RECURRENCE_CHARACTERS_MAX}."]
    parts = _recurrence_parts(text)
    if "COUNT" in parts:
        return ["COUNT is not supported, because times are counted from now; use UNTIL."]
    if "BYEASTER" in parts:
        return ["BYEASTER is not in RFC 5545; write the dates as rules of their own."]
    interval = parts.get("INTERVAL", "1")
    if not interval.isdecimal() or not 1 <= int(interval) <= RECURRENCE_INTERVAL_MAX:
        return [f"INTERVAL is {interval!r}; use a number from 1 to {RECURRENCE_INTERVAL_MAX}."]
    if parts.get("FREQ") not in _FREQUENCIES:
        return [
            f"{text[:80]!r} has no FREQ that is known; use e.g. "
            "'RRULE:FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0'."
        ]
    try:
        rule = _parse_recurrence(text, zoneinfo.ZoneInfo("UTC")).replace(until=None)
        start = _bound(rule, "dtstart") or _DEFAULT_START
        if next(_walk(rule, start, start), None) is None:
            return [f"{text[:80]!r} never occurs; change its BY parts."]
    except Exception as error:  # dateutil raises all kinds of them on bad text
        reason = str(error).rstrip(".")
        return [f"{text[:80]!r} is no RFC 5545 recurrence rule: {reason}."]
    return []


# --- Time zones -----------------------------------------------------------------------------


def _time_zone_violations(name: str, field: str) -> list[Violation]:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return [
            Violation(
                f"{field}.time_zone",
                f"There is no time zone {name!r}; use an IANA name, e.g. 'Europe/Berlin' or 'UTC'.",
            )
        ]
    return []


__all__ = ["next_times", "validate"]
