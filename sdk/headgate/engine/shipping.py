"""Calls, results and exceptions as bytes, for another process of this machine.

cloudpickle takes functions that no other process finds by name: those of ``__main__``, lambdas
and those within functions. Both ends are our own processes; nothing that comes from elsewhere is
ever loaded here.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from typing import Any

from headgate.core import errors
from headgate.logging import tracebacks

__all__ = [
    "RemoteError",
    "dump_call",
    "dump_error",
    "dump_initializer",
    "dump_part",
    "dump_value",
    "load",
    "load_error",
    "try_dump",
]


_MADE_THERE = "Make such things within the task"
_ON_THREADS = "or run the task on threads."


class RemoteError(Exception):
    """Carries what a call raised; whoever called gets the error within.

    Args:
        error: What was raised there.
    """

    def __init__(self, error: BaseException) -> None:
        """Carry an error."""
        super().__init__(str(error))
        self.error = error


def _dumps(value: Any) -> bytes:
    import cloudpickle  # only where something is sent

    return cloudpickle.dumps(value)


def load(data: bytes) -> Any:
    """Turn bytes back into what they were."""
    return pickle.loads(data)


def dump_call(
    what: str,
    context: Mapping[str, Any],
    fn: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    timeout_error: Exception | None,
) -> bytes:
    """Turn a call into bytes.

    Raises:
        SerializationError: Something in it cannot be pickled; it is named.
    """
    # The arguments are the context's, too: together they are pickled once.
    parts = (context, fn, args, dict(kwargs), timeout_error)
    try:
        return _dumps(parts)
    except Exception as problem:  # pickling runs code of all classes involved
        raise to_blame(what, fn, args, kwargs, problem) from problem


def to_blame(
    what: str,
    fn: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    problem: BaseException,
    remedy: str = f"{_MADE_THERE}, {_ON_THREADS}",
) -> errors.SerializationError:
    """Say which argument of a call cannot be pickled.

    Args:
        what: What is called, for people.
        fn: The function, or the task.
        args: Its arguments.
        kwargs: Its arguments by name.
        problem: Why the whole cannot be pickled.
        remedy: What to do about it.
    """
    named = dict(zip(_names(fn, len(args)), args, strict=True))
    named.update({repr(name): value for name, value in kwargs.items()})
    for name, value in named.items():
        try:
            _dumps(value)
        except Exception as found:  # as above
            return _not_sendable(f"Argument {name} of {what}", found, remedy)
    return _not_sendable(f"The function of {what}", problem, remedy)


def _names(fn: Any, count: int) -> list[str]:
    """Return what people call the arguments that are given by position."""
    names = [f"number {n}" for n in range(1, count + 1)]
    try:
        parameters = inspect.signature(getattr(fn, "fn", fn)).parameters.values()
    except (TypeError, ValueError):  # one in C may not say what it takes
        return names
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [repr(parameter.name) for parameter in parameters if parameter.kind in positional]
    return [*known[:count], *names[len(known) :]]


def _not_sendable(
    thing: str, problem: BaseException, remedy: str = f"{_MADE_THERE}, {_ON_THREADS}"
) -> errors.SerializationError:
    return errors.SerializationError(
        f"{thing} cannot be sent to another process: {type(problem).__name__}: {problem}. {remedy}"
    )


def dump_initializer(initializer: Callable[..., object], initargs: tuple[Any, ...]) -> bytes:
    """Turn what a process does first into bytes.

    Raises:
        SerializationError: It cannot be pickled.
    """
    try:
        return _dumps((initializer, initargs))
    except Exception as problem:  # pickling runs code of all classes involved
        raise _not_sendable(
            "The initializer of the task runner", problem, "Make such things within it."
        ) from problem


def dump_part(what: str, value: Any) -> bytes:
    """Turn something into bytes.

    Raises:
        SerializationError: It cannot be pickled.
    """
    try:
        return _dumps(value)
    except Exception as problem:  # pickling runs code of all classes involved
        raise _not_sendable(what, problem) from problem


def try_dump(value: Any) -> bytes | None:
    """Turn a value into bytes; None where that cannot be."""
    try:
        return _dumps(value)
    except Exception:  # pickling runs code of all classes involved
        return None


def dump_value(value: Any, what: str) -> bytes:
    """Turn a result into bytes.

    Raises:
        SerializationError: It cannot be pickled.
    """
    try:
        return _dumps(value)
    except Exception as problem:  # pickling runs code of all classes involved
        remedy = f"Return what can be pickled, {_ON_THREADS}"
        raise _not_sendable(f"The result of {what}", problem, remedy) from problem


def dump_error(error: BaseException) -> bytes:
    """Turn what a call raised into bytes; one that does not survive the way becomes its text."""
    text = tracebacks.format_exception(type(error), error, error.__traceback__)
    note = "" if tracebacks.is_told(error) else f"{tracebacks.ELSEWHERE}\n{text}"
    try:
        data = _dumps((error, note))
        load(data)  # an exception whose constructor is special can be pickled, and not loaded
    except Exception:  # pickling runs code of all classes involved
        text = f"{type(error).__name__}: {error}"
        return pickle.dumps((errors.IsolatedError(text), note))
    return data


def load_error(data: bytes) -> RemoteError:
    """Return what a call raised, with the traceback of the other process as a note."""
    error, note = load(data)
    if note:
        error.add_note(note)
    return RemoteError(error)
