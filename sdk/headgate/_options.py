"""Checks of options that flows and tasks have in common."""

from __future__ import annotations

import datetime
import enum
import os
from collections.abc import Callable, Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from headgate._explaining import meant
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.core.retries import RetryDelay
    from headgate.core.runs import RetryPolicy

__all__ = [
    "checked_choice",
    "checked_condition",
    "checked_flag",
    "checked_hooks",
    "checked_mapping",
    "checked_name",
    "checked_path",
    "checked_seconds",
    "checked_tags",
    "checked_text",
    "checked_time",
    "is_encodable",
    "one_of",
    "options_of",
    "refuse_unknown",
    "required_text",
    "result_serializer",
    "result_storage",
    "run_name",
    "timeout_in_seconds",
]

#: A hundred years, which all clocks can count.
_SECONDS_MAX = 3_153_600_000

Condition = TypeVar("Condition")
Choice = TypeVar("Choice", bound=enum.Enum)
Hook = TypeVar("Hook", bound=Callable[..., Any])


def timeout_in_seconds(timeout: float | datetime.timedelta | None) -> float | None:
    """Return a timeout in seconds; None for none.

    Raises:
        OptionTypeError: It is no length of time.
        OptionValueError: It is negative, or no number.
    """
    if isinstance(timeout, datetime.timedelta):
        timeout = timeout.total_seconds()
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        msg = f"timeout_seconds is {timeout!r}; use a number of seconds, or None for no limit."
        raise errors.OptionTypeError(msg)
    if not 0 <= timeout <= _SECONDS_MAX:
        msg = f"timeout_seconds is {timeout!r}; use a number above 0, or None for no limit."
        raise errors.OptionValueError(msg)
    return float(timeout) or None


def told_delay(
    given: RetryDelay | None, policy: RetryPolicy
) -> float | datetime.timedelta | list[float]:
    """Return a ``retry_delay_seconds`` as people read it: a number as it is, else a list."""
    delays = policy.delays_seconds
    if given is None:
        return delays[0] if len(delays) == 1 else list(delays) or 0
    if isinstance(given, int | float | datetime.timedelta):
        return given
    return [int(delay) if delay.is_integer() else delay for delay in delays]


def without_none(options: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    """Leave out the options of these names that are None."""
    return {
        name: value for name, value in options.items() if value is not None or name not in names
    }


def refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse options that there are not.

    Args:
        given: The names that were given.
        known: Those that there are.
        what: What was given them, for the message.

    Raises:
        OptionTypeError: There are some; the first is named, and what was probably meant.
    """
    names = list(known)
    for name in given:
        if name not in names:
            msg = f"{what} has no option {name!r}; {meant(name, names)}"
            raise errors.OptionTypeError(msg)


def options_of(fn: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the options of a function: its arguments by keyword alone."""
    inner: Any = getattr(fn, "__func__", fn)
    code = getattr(inner, "__wrapped__", inner).__code__
    return code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]


def checked_name(name: Any) -> Any:
    """Return a name if it is a text with something in it, or None.

    Raises:
        OptionTypeError: It is anything else.
        OptionValueError: It is empty.
    """
    if isinstance(name, str) and not name:
        msg = "name is ''; use a text with something in it, or None for the name of the function."
        raise errors.OptionValueError(msg)
    return checked_text(name, "name")


def checked_text(value: Any, option: str) -> Any:
    """Return an option if it is a text, or None.

    Raises:
        OptionTypeError: It is anything else.
    """
    if value is not None and not isinstance(value, str):
        msg = f"{option} is {value!r}; use a text."
        raise errors.OptionTypeError(msg)
    return value


def checked_tags(tags: Any, option: str = "tags") -> frozenset[str]:
    """Return tags, given as a list or such of texts, or as one text.

    Raises:
        OptionTypeError: It is anything else.
    """
    if tags is None or tags == "":
        return frozenset()
    if isinstance(tags, str):
        return frozenset([tags])
    try:
        made = frozenset(cast("Iterable[Any]", tags))
    except TypeError:
        made = frozenset[Any]([None])
    if not all(isinstance(tag, str) for tag in made):
        msg = f"{option} is {tags!r}; use a list of texts, e.g. ['nightly']."
        raise errors.OptionTypeError(msg)
    return made


def checked_mapping(value: Any, option: str) -> dict[str, Any]:
    """Return a copy of an option that has values by name; empty for None.

    Raises:
        OptionTypeError: It is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        msg = f"{option} is {value!r}; use a dictionary with texts for keys."
        raise errors.OptionTypeError(msg)
    made = dict(cast("Mapping[Any, Any]", value))
    for key in made:
        if not isinstance(key, str):
            msg = f"{option} has the key {key!r}; use texts for keys."
            raise errors.OptionTypeError(msg)
    return made


def checked_time(value: Any, option: str) -> Any:
    """Return an option if it is a ``datetime``, or None.

    Raises:
        OptionTypeError: It is anything else.
    """
    if value is not None and not isinstance(value, datetime.datetime):
        msg = f"{option} is {value!r}; use a datetime with a time zone."
        raise errors.OptionTypeError(msg)
    return value


def checked_seconds(value: Any, option: str) -> Any:
    """Return an option if it is a number of seconds, or None for no limit.

    Raises:
        OptionTypeError: It is no number.
        OptionValueError: It is none that time can have.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{option} is {value!r}; use a number of seconds, or None."
        raise errors.OptionTypeError(msg)
    if not value <= _SECONDS_MAX:
        msg = f"{option} is {value!r}; use a number of seconds, or None for no limit."
        raise errors.OptionValueError(msg)
    return value


def checked_path(value: Any, option: str) -> Any:
    """Return an option if it is a path that a file system can have, or None.

    Raises:
        OptionTypeError: It is no text and no ``Path``.
        OptionValueError: It has characters that no file name has.
    """
    if value is None:
        return None
    given: Any = value
    if not isinstance(given, str | os.PathLike):
        msg = f"{option} is {value!r}; use a text or a Path."
        raise errors.OptionTypeError(msg)
    text = os.fspath(cast("os.PathLike[str]", given))
    if "\0" in text or not is_encodable(text):
        msg = f"{option} is {value!r}, which has characters that no file name has; leave them away."
        raise errors.OptionValueError(msg)
    return value


def is_encodable(text: str) -> bool:
    """Say whether a text can be written: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def required_text(value: Any, option: str) -> str:
    """Return an option if it is a text with something in it.

    Raises:
        OptionTypeError: It is no text.
        OptionValueError: It is empty, or cannot be written.
    """
    if not isinstance(value, str):
        msg = f"{option} is {value!r}; use a text."
        raise errors.OptionTypeError(msg)
    if not value or not is_encodable(value):
        msg = f"{option} is {value!r}; use a text of characters that can be written."
        raise errors.OptionValueError(msg)
    return value


def one_of(value: Any, kind: type[Choice], option: str) -> Choice | None:
    """Return an option as a member of an enumeration; it may be given by its value.

    Raises:
        OptionValueError: There is no such member.
    """
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(str(member.value) for member in kind)
        msg = f"{option} is {value!r}; use one of {names}."
        raise errors.OptionValueError(msg) from None


def run_name(template: str, parameters: Mapping[str, Any], kind: str, name: str) -> str:
    """Return the name of a run by the template that its flow or task has.

    Args:
        template: ``flow_run_name`` or ``task_run_name``, a text.
        parameters: What it may use.
        kind: ``flow`` or ``task``.
        name: That of the flow or task.

    Raises:
        OptionValueError: The template cannot be filled in.
    """
    try:
        return template.format(**parameters)
    except (LookupError, AttributeError, ValueError, TypeError) as problem:
        has = ", ".join(parameters) or "no parameters"
        msg = (
            f"{kind}_run_name of {kind} {name!r} is {template!r}, which cannot be filled in "
            f"({type(problem).__name__}: {problem}); the {kind} has {has}."
        )
        raise errors.OptionValueError(msg) from None


def checked_hooks(hooks: Iterable[Hook] | None, option: str, kind: str) -> list[Hook]:
    """Return hooks in a list of their own.

    Args:
        hooks: What was given.
        option: Which they are.
        kind: What they hear of: ``flow``, ``task`` or ``transaction``.

    Raises:
        OptionTypeError: It is no list, or has something in it that cannot be called.
    """
    if hooks is None:
        return []
    given: Any = hooks
    if callable(given) or isinstance(given, str) or not isinstance(given, Iterable):
        name = getattr(given, "__name__", "hook")
        msg = f"{option} is {given!r}; use a list: {option}=[{name}]."
        raise errors.OptionTypeError(msg)
    made = list(hooks)
    for hook in made:
        if not callable(hook):
            takes = "transaction" if kind == "transaction" else f"{kind}, {kind}_run, state"
            msg = f"{option} has {hook!r}; use functions of ({takes})."
            raise errors.OptionTypeError(msg)
    return made


def checked_condition(condition: Condition, kind: str) -> Condition:
    """Return a ``retry_condition_fn`` if it can be called, or None.

    Args:
        condition: What was given.
        kind: ``flow`` or ``task``.

    Raises:
        OptionTypeError: It is anything else.
    """
    if condition is not None and not callable(condition):
        msg = f"retry_condition_fn is {condition!r}; use a function of ({kind}, {kind}_run, state)."
        raise errors.OptionTypeError(msg)
    return condition


def checked_choice(value: bool | None, option: str) -> bool | None:
    """Return an option that is True, False or None.

    Raises:
        OptionTypeError: It is something else.
    """
    if value is not None and not isinstance(value, bool):
        msg = f"{option} is {value!r}; use True, False, or None for the default."
        raise errors.OptionTypeError(msg)
    return value


def result_storage(storage: Any) -> Any:
    """Return a ``result_storage`` that can be one.

    Raises:
        OptionTypeError: It cannot, or is a block that is not saved.
    """
    if storage is None:
        return None
    from headgate import _result_storage  # only those that name a storage pay for it

    return _result_storage.checked_storage(storage)


def result_serializer(serializer: Any) -> Any:
    """Return a ``result_serializer`` that was given as such, or by its type.

    Raises:
        OptionTypeError: It is neither.
        ConfigurationError: There is no such type.
    """
    if serializer is None:
        return None
    from headgate import serializers  # only those that name a serializer pay for it

    return serializers.resolve_serializer(serializer)


def checked_flag(value: bool, option: str) -> bool:
    """Return an option that is True or False.

    Raises:
        OptionTypeError: It is something else.
    """
    if not isinstance(value, bool):
        msg = f"{option} is {value!r}; use True or False."
        raise errors.OptionTypeError(msg)
    return value
