"""Calls, results and exceptions as bytes, for another process of this machine.

cloudpickle takes functions that no other process finds by name: those of ``__main__``, lambdas
and those within functions. Both ends are our own processes; nothing that comes from elsewhere is
ever loaded here.
"""

from __future__ import annotations

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
        raise to_blame(what, args, kwargs, problem) from problem


def to_blame(
    what: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], problem: BaseException
) -> errors.SerializationError:
    """Say which argument of a call cannot be pickled."""
    named = {f"number {n}": value for n, value in enumerate(args, 1)}
    named.update({repr(name): value for name, value in kwargs.items()})
    for name, value in named.items():
        try:
            _dumps(value)
        except Exception as found:  # as above
            return _not_sendable(f"Argument {name} of {what}", found)
    return _not_sendable(f"The function of {what}", problem)


def _not_sendable(thing: str, problem: BaseException) -> errors.SerializationError:
    return errors.SerializationError(
        f"{thing} cannot be sent to another process: {type(problem).__name__}: {problem}. Make "
        "such things within the task, or run the task on threads."
    )


def dump_initializer(initializer: Callable[..., object], initargs: tuple[Any, ...]) -> bytes:
    """Turn what a process does first into bytes.

    Raises:
        SerializationError: It cannot be pickled.
    """
    try:
        return _dumps((initializer, initargs))
    except Exception as problem:  # pickling runs code of all classes involved
        raise _not_sendable("The initializer of the task runner", problem) from problem


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
        raise _not_sendable(f"The result of {what}", problem) from problem


def dump_error(error: BaseException) -> bytes:
    """Turn what a call raised into bytes; one that does not survive the way becomes its text."""
    text = tracebacks.format_exception(type(error), error, error.__traceback__)
    note = f"{tracebacks.ELSEWHERE}\n{text}"
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
    error.add_note(note)
    return RemoteError(error)
