"""Checks of options that flows and tasks have in common."""

from __future__ import annotations

import datetime
import math
from typing import Any, TypeVar

__all__ = ["checked_condition", "checked_name", "timeout_in_seconds"]

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
