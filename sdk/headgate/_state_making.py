"""The states that values and exceptions become, for ``headgate.states``; loaded when needed."""

from __future__ import annotations

import sys
import traceback
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headgate import states
from headgate.core import errors
from headgate.states import State

if TYPE_CHECKING:
    from headgate.results import ResultStore

__all__ = [
    "exception_to_crashed_state",
    "exception_to_failed_state",
    "format_exception",
    "return_value_to_state",
]


async def return_value_to_state(
    retval: Any,
    result_store: ResultStore,
    key: str | None = None,
    expiration: datetime | None = None,
    write_result: bool = False,
) -> State[Any]:
    """Turn what a function returned into the final state of its run.

    A state made by hand is that state; states of runs, and futures, decide together; anything else
    completes the run, and is its result.

    Args:
        retval: What was returned.
        result_store: Where the result is kept.
        key: Its key there. Default: a new one.
        expiration: When it expires.
        write_result: Whether it is kept now.
    """
    from headgate.engine import outcomes
    from headgate.futures import resolve_futures_to_states

    state = outcomes.of_value(resolve_futures_to_states(retval))
    if write_result and state.type is states.StateType.COMPLETED:
        record = result_store.create_result_record(state.data, key=key, expiration=expiration)
        await result_store.apersist_result_record(record)
    return state


async def exception_to_failed_state(
    exc: BaseException | None = None,
    result_store: ResultStore | None = None,
    write_result: bool = False,
    **kwargs: Any,
) -> State[Any]:
    """Turn an exception into a failed state.

    Args:
        exc: The exception. Default: the one that is handled here.
        result_store: Where the exception is kept.
        write_result: Whether it is kept now.
        **kwargs: Fields of the state. A ``message`` goes before what the exception says.

    Raises:
        UsageError: There is none.
    """
    exc = exc or sys.exc_info()[1]
    if exc is None:
        msg = "No exception is being handled here; pass the one that the state is to tell of."
        raise errors.UsageError(msg)
    if write_result and result_store is not None:
        await result_store.apersist_result_record(result_store.create_result_record(exc))
    said = _said(exc)
    message = kwargs.pop("message", None)
    return states.Failed(data=exc, message=f"{message} {said}" if message else said, **kwargs)


async def exception_to_crashed_state(
    exc: BaseException, result_store: ResultStore | None = None
) -> State[Any]:
    """Turn what tears a run down into a crashed state.

    Args:
        exc: The exception.
        result_store: Where the exception is kept.
    """
    from headgate.engine import outcomes

    if result_store is not None:
        await result_store.apersist_result_record(result_store.create_result_record(exc))
    return outcomes.crashed(exc)


def format_exception(exc: BaseException, tb: Any = None) -> str:
    """Write an exception with its traceback, as Python does."""
    return "".join(traceback.format_exception(type(exc), exc, tb or exc.__traceback__))


def _said(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
