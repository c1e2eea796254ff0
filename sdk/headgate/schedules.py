"""When a deployment runs by itself, as flow authors write it: ``Cron``, ``Interval``, ``RRule``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from headgate import _options
from headgate._explaining import explained, explained_class
from headgate.core import clock, deployments, errors

__all__ = ["Cron", "Interval", "RRule", "Schedule", "construct"]

_KEYS = ("interval", "cron", "rrule")


@explained_class
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A rule, and what goes with it.

    Attributes:
        rule: What gives the times.
        active: False: it rests.
        parameters: Parameters of its runs, merged over those of the deployment.
        slug: A stable name within the deployment, so that deploying again changes this
            schedule in place.
        max_scheduled_runs: How many future runs are made ahead.
    """

    rule: deployments.ScheduleRule
    active: bool = True
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    slug: str | None = None
    max_scheduled_runs: int = deployments.MAX_SCHEDULED_RUNS

    @property
    def cron(self) -> str | None:
        """The cron expression, where it goes by one."""
        return self.rule.expression if isinstance(self.rule, deployments.CronRule) else None

    @property
    def day_or(self) -> bool:
        """With both a day of month and a day of week: whether one is enough."""
        return self.rule.day_or if isinstance(self.rule, deployments.CronRule) else True

    @property
    def interval(self) -> timedelta | None:
        """The distance, where it goes by one."""
        if isinstance(self.rule, deployments.IntervalRule):
            return timedelta(seconds=self.rule.interval_seconds)
        return None

    @property
    def anchor_date(self) -> datetime | None:
        """A time that a series of equal distances goes through."""
        return self.rule.anchor_time if isinstance(self.rule, deployments.IntervalRule) else None

    @property
    def rrule(self) -> str | None:
        """The recurrence rule, where it goes by one."""
        return self.rule.rule if isinstance(self.rule, deployments.RecurrenceRule) else None

    @property
    def timezone(self) -> str:
        """The time zone of the rule."""
        return self.rule.time_zone


@explained
def Cron(  # noqa: N802  # a constructor by the name that users know
    cron: str,
    timezone: str | None = None,
    day_or: bool = True,
    active: bool = True,
    parameters: Mapping[str, Any] | None = None,
    slug: str | None = None,
    max_scheduled_runs: int | None = None,
) -> Schedule:
    """Make a schedule by a cron expression.

    Args:
        cron: Five or six fields, or a macro such as ``@daily``; no ``R`` or ``H``.
        timezone: IANA name of the time zone of the clock fields. Default: UTC.
        day_or: With both a day of month and a day of week: whether one is enough.
        active: False: the schedule rests.
        parameters: Parameters of its runs, merged over those of the deployment.
        slug: A stable name within the deployment.
        max_scheduled_runs: How many future runs are made ahead. Default: 100.

    Raises:
        InvalidArgument: The expression or the time zone is wrong.
    """
    _options.checked_flag(day_or, "day_or")
    rule = deployments.CronRule(
        expression=_text(cron, "cron"), time_zone=_zone(timezone), day_or=day_or
    )
    return _schedule(rule, active, parameters, slug, max_scheduled_runs)


@explained
def Interval(  # noqa: N802  # a constructor by the name that users know
    interval: timedelta | float | str,
    anchor_date: datetime | None = None,
    timezone: str | None = None,
    active: bool = True,
    parameters: Mapping[str, Any] | None = None,
    slug: str | None = None,
    max_scheduled_runs: int | None = None,
) -> Schedule:
    """Make a schedule at a fixed distance.

    Args:
        interval: A ``timedelta``, seconds, or ISO 8601 text such as ``PT15M``; at least 1 s.
        anchor_date: A time that the series goes through. Default: now.
        timezone: IANA name; intervals of whole days keep the wall-clock time there across
            changes of summer time. Default: UTC.
        active: False: the schedule rests.
        parameters: Parameters of its runs, merged over those of the deployment.
        slug: A stable name within the deployment.
        max_scheduled_runs: How many future runs are made ahead. Default: 100.

    Raises:
        InvalidArgument: The interval or the time zone is wrong.
    """
    anchor = clock.process_clock.now() if anchor_date is None else anchor_date
    if not isinstance(anchor, datetime):
        msg = f"anchor_date is {anchor!r}; use a datetime."
        raise errors.OptionTypeError(msg)
    if anchor.tzinfo is None:
        anchor = anchor.replace(tzinfo=UTC)
    rule = deployments.IntervalRule(
        interval_seconds=_seconds(interval), anchor_time=anchor, time_zone=_zone(timezone)
    )
    return _schedule(rule, active, parameters, slug, max_scheduled_runs)


@explained
def RRule(  # noqa: N802  # a constructor by the name that users know
    rrule: str,
    timezone: str | None = None,
    active: bool = True,
    parameters: Mapping[str, Any] | None = None,
    slug: str | None = None,
    max_scheduled_runs: int | None = None,
) -> Schedule:
    """Make a schedule by an RFC 5545 recurrence rule.

    Args:
        rrule: ``RRULE:...`` text, with an optional ``DTSTART`` line; no ``COUNT``.
        timezone: IANA name of the time zone. Default: UTC.
        active: False: the schedule rests.
        parameters: Parameters of its runs, merged over those of the deployment.
        slug: A stable name within the deployment.
        max_scheduled_runs: How many future runs are made ahead. Default: 100.

    Raises:
        InvalidArgument: The rule or the time zone is wrong.
    """
    rule = deployments.RecurrenceRule(rule=_text(rrule, "rrule"), time_zone=_zone(timezone))
    return _schedule(rule, active, parameters, slug, max_scheduled_runs)


def construct(
    *,
    interval: Any = None,
    cron: str | Iterable[str] | None = None,
    rrule: str | Iterable[str] | None = None,
    schedule: Any = None,
    schedules: Iterable[Any] | None = None,
    anchor_date: datetime | None = None,
    timezone: str | None = None,
) -> list[Schedule] | None:
    """Make schedules of what ``serve`` and ``deploy`` are given.

    Args:
        interval: A ``timedelta``, seconds or ISO 8601 text, or several of these.
        cron: A cron expression, or several.
        rrule: A recurrence rule, or several.
        schedule: A ``Schedule``, or a dictionary with ``cron``, ``interval`` or ``rrule``.
        schedules: Several of these.
        anchor_date: Goes with ``interval``.
        timezone: Goes with ``interval``, ``cron`` or ``rrule``.

    Returns:
        The schedules; None where nothing was given, so that those on the server stay.

    Raises:
        InvalidArgument: More than one kind was given, or one of them is wrong.
    """
    given = [
        name
        for name, value in (
            ("interval", interval),
            ("cron", cron),
            ("rrule", rrule),
            ("schedule", schedule),
            ("schedules", schedules),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise errors.InvalidArgument.of(
            given[1], f"does not go together with {given[0]}; give one of them, or `schedules`."
        )
    if anchor_date is not None and interval is None:
        raise errors.InvalidArgument.of("anchor_date", "goes with interval only.")
    if timezone is not None and not set(given) & set(_KEYS):
        raise errors.InvalidArgument.of("timezone", "goes with interval, cron or rrule only.")
    if schedule is not None:
        return [_normalised(schedule)]
    if schedules is not None:
        if not isinstance(schedules, Iterable) or isinstance(schedules, Mapping | str | bytes):
            msg = f"schedules is {schedules!r}; use a list, e.g. [Cron('0 9 * * *')]."
            raise errors.OptionTypeError(msg)
        return [_normalised(item) for item in schedules]
    if interval is not None:
        return [Interval(item, anchor_date, timezone) for item in _several(interval)]
    if cron is not None:
        return [Cron(item, timezone) for item in _several(cron)]
    if rrule is not None:
        return [RRule(item, timezone) for item in _several(rrule)]
    return None


def _several(value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(cast("Iterable[Any]", value))
    return [value]


def _normalised(item: Any) -> Schedule:
    if isinstance(item, Schedule):
        return item
    if isinstance(item, Mapping):
        return _of_mapping(dict(cast("Mapping[str, Any]", item)))
    raise errors.InvalidArgument.of(
        "schedules",
        f"takes Cron(...), Interval(...), RRule(...) or a dictionary, not {item!r}.",
    )


def _of_mapping(item: dict[str, Any]) -> Schedule:
    kinds = [key for key in _KEYS if item.get(key) is not None]
    if len(kinds) != 1:
        raise errors.InvalidArgument.of(
            "schedules", f"needs one of cron, interval and rrule, and {item!r} has {len(kinds)}."
        )
    options = {key: value for key, value in item.items() if key not in _KEYS}
    make = {"cron": Cron, "interval": Interval, "rrule": RRule}[kinds[0]]
    return make(item[kinds[0]], **options)


def _schedule(
    rule: deployments.ScheduleRule,
    active: bool,
    parameters: Mapping[str, Any] | None,
    slug: str | None,
    max_scheduled_runs: int | None,
) -> Schedule:
    from headgate.core import schedules as rules  # croniter and dateutil: only who schedules pays

    violations = rules.validate(rule)
    if violations:
        raise errors.InvalidArgument(violations)
    if max_scheduled_runs is not None and type(max_scheduled_runs) is not int:
        msg = f"max_scheduled_runs is {max_scheduled_runs!r}; use a whole number."
        raise errors.OptionTypeError(msg)
    return Schedule(
        rule=rule,
        active=_options.checked_flag(active, "active"),
        parameters=_options.checked_mapping(parameters, "parameters"),
        slug=_options.checked_text(slug, "slug"),
        max_scheduled_runs=max_scheduled_runs or deployments.MAX_SCHEDULED_RUNS,
    )


def _text(value: Any, option: str) -> str:
    if not isinstance(value, str):
        msg = f"{option} is {value!r}; use a text."
        raise errors.OptionTypeError(msg)
    return value


def _zone(name: Any) -> str:
    return "UTC" if name is None else _text(name, "timezone") or "UTC"


def _seconds(interval: timedelta | float | str) -> float:
    if isinstance(interval, timedelta):
        return interval.total_seconds()
    if isinstance(interval, str):
        from pydantic import TypeAdapter, ValidationError  # reads ISO 8601; only for text

        try:
            return TypeAdapter(timedelta).validate_python(interval).total_seconds()
        except ValidationError:
            raise errors.InvalidArgument.of(
                "interval", f"must be a timedelta, seconds or ISO 8601 text, not {interval!r}."
            ) from None
    if isinstance(interval, bool) or not isinstance(interval, int | float):
        msg = f"interval is {interval!r}; use a timedelta, seconds or ISO 8601 text."
        raise errors.OptionTypeError(msg)
    return float(interval)
