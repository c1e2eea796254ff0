"""What people type, as values: parameters, lengths of time, times, and what to do at a loss."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from headgate.core import deployments

Function = TypeVar("Function", bound=Callable[..., Any])

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


def parameter_option(function: Function) -> Function:
    """Give a command the option ``--param``; it arrives as ``parameters``, name to value."""
    return click.option(
        "--param",
        "parameters",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_pairs,
        help="A parameter; the value is JSON, or else a text. Repeat it for more.",
    )(function)


def job_variable_option(function: Function) -> Function:
    """Give a command the option ``--job-variable``, name to value."""
    return click.option(
        "--job-variable",
        "job_variables",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_pairs,
        help="A value for the pool's job template; JSON, or else a text.",
    )(function)


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` texts; a value that is no JSON is a text.

    Raises:
        click.BadParameter: One of them has no name or no equals sign.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            msg = f"{text!r} is not NAME=VALUE, e.g. limit=10."
            raise click.BadParameter(msg)
        values[name.strip()] = json_or_text(value)
    return values


class LengthOfTime(click.ParamType[timedelta]):
    """Seconds, or a number with a unit: ``90``, ``90s``, ``15m``, ``2h``, ``1d``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read one."""
        if isinstance(value, timedelta):
            return value
        found = _LENGTH.fullmatch(str(value).strip())
        unit = found[2].lower() or "s" if found else ""
        if found is None or unit not in UNITS:
            self.fail(f"{value!r} is no length of time; write e.g. 90s, 15m, 2h or 1d.", param, ctx)
        return timedelta(seconds=float(found[1]) * UNITS[unit])


class Time(click.ParamType[datetime]):
    """An ISO 8601 time; without an offset it is meant in the time zone of this machine."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read one."""
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write e.g. 2026-12-31T18:00.", param, ctx)
        return time if time.tzinfo is not None else time.astimezone()


class LossPolicy(click.ParamType[deployments.InfrastructureLossPolicy]):
    """``crash``, ``reschedule`` or ``reschedule:N``."""

    name = "policy"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> deployments.InfrastructureLossPolicy:
        """Read one."""
        if isinstance(value, deployments.InfrastructureLossPolicy):
            return value
        action, colon, times = str(value).partition(":")
        match action, colon, times:
            case "crash", "", "":
                return deployments.CRASH_ON_LOSS
            case "reschedule", "", "":
                return _reschedule(deployments.InfrastructureLossPolicy().max_reschedules)
            case "reschedule", ":", _ if times.isdecimal():
                return _reschedule(int(times))
            case _:
                msg = f"{value!r} is neither crash nor reschedule:N, e.g. reschedule:3."
                self.fail(msg, param, ctx)


def _reschedule(times: int) -> deployments.InfrastructureLossPolicy:
    return deployments.InfrastructureLossPolicy(
        action=deployments.InfrastructureLossAction.RESCHEDULE, max_reschedules=times
    )


def _pairs(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, Any]:
    return pairs(value)


def json_or_text(value: str) -> Any:
    """Read a JSON text; what is none is a text."""
    try:
        return json.loads(value)
    except ValueError:
        return value
