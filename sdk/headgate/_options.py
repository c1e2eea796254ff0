"""Checks of options that flows and tasks have in common."""

from __future__ import annotations

import datetime
import math
from typing import Any, TypeVar

__all__ = [
    "checked_choice",
    "checked_condition",
    "checked_flag",
    "checked_name",
    "result_serializer",
    "result_storage",
    "timeout_in_seconds",
]

Condition = TypeVar("Condition")


def timeout_in_seconds(timeout: float | datetime.timedelta | None) -> float | None:
    """Return a timeout in seconds; None for none.

    Raises:
        TypeError: It is no length of time.
        ValueError: It is negative, or no number.
    """
    if isinstance(timeout, datetime.timedelta):
        timeout = timeout.total_seconds()
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        msg = f"timeout_seconds is {timeout!r}; use a number of seconds, or None for no limit."
        raise TypeError(msg)
    if math.isnan(timeout) or timeout < 0:
        msg = f"timeout_seconds is {timeout!r}; use a number above 0, or None for no limit."
        raise ValueError(msg)
    return float(timeout) or None


def checked_name(name: Any) -> Any:
    """Return a name if it is a text, or None.

    Raises:
        TypeError: It is anything else.
    """
    if name is not None and not isinstance(name, str):
        msg = f"name is {name!r}; use a text."
        raise TypeError(msg)
    return name


def checked_condition(condition: Condition, kind: str) -> Condition:
    """Return a ``retry_condition_fn`` if it can be called, or None.

    Args:
        condition: What was given.
        kind: ``flow`` or ``task``.

    Raises:
        TypeError: It is anything else.
    """
    if condition is not None and not callable(condition):
        msg = f"retry_condition_fn is {condition!r}; use a function of ({kind}, {kind}_run, state)."
        raise TypeError(msg)
    return condition


def checked_choice(value: bool | None, option: str) -> bool | None:
    """Return an option that is True, False or None.

    Raises:
        TypeError: It is something else.
    """
    if value is not None and not isinstance(value, bool):
        msg = f"{option} is {value!r}; use True, False, or None for the default."
        raise TypeError(msg)
    return value


def result_storage(storage: Any) -> Any:
    """Return a ``result_storage`` that can be one.

    Raises:
        TypeError: It cannot, or is a block that is not saved.
    """
    if storage is None:
        return None
    from headgate import _result_storage  # only those that name a storage pay for it

    return _result_storage.checked_storage(storage)


def result_serializer(serializer: Any) -> Any:
    """Return a ``result_serializer`` that was given as such, or by its type.

    Raises:
        TypeError: It is neither.
        ConfigurationError: There is no such type.
    """
    if serializer is None:
        return None
    from headgate import serializers  # only those that name a serializer pay for it

    return serializers.resolve_serializer(serializer)


def checked_flag(value: bool, option: str) -> bool:
    """Return an option that is True or False.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, bool):
        msg = f"{option} is {value!r}; use True or False."
        raise TypeError(msg)
    return value
