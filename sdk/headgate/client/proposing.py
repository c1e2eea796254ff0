"""What the server is told of a state that somebody proposes by hand."""

from __future__ import annotations

from typing import Any, cast

from headgate import payloads
from headgate import states as user_states
from headgate.core import errors, states

__all__ = ["record_of"]


def record_of(state: states.State, *, with_none: bool = False) -> states.State:
    """Return the record of a state; a result that it has rides along.

    Args:
        state: Made by hand, as in ``Completed(data=5)``, or one that the server has told of.
        with_none: Whether ``Completed()`` means that None was returned.

    Raises:
        OptionTypeError: It is something else.
        InvalidArgument: Its result is too big to ride along.
        SerializationError: Its result cannot be serialized.
    """
    if not isinstance(cast("object", state), states.State):
        msg = f"state is {state!r}; use one of headgate.states, as Completed()."
        raise errors.OptionTypeError(msg)
    if not isinstance(state, user_states.State):
        return state
    given = cast("user_states.State[Any]", state)
    record = given.record()
    if record.data is not None or not (record.is_terminal and given.has_data):
        return record
    if given.data is None and not (with_none and record.type is states.StateType.COMPLETED):
        return record
    try:
        payload = payloads.inline(given.data)
    except errors.SerializationError:
        if not isinstance(given.data, BaseException):
            raise
        return record  # its message tells of it
    if payload is None:
        msg = (
            f"the result of {given.name} is bigger than {payloads.INLINE_BYTES_MAX} bytes; keep it "
            "in a result storage, and say where it is."
        )
        raise errors.InvalidArgument.of("state.data", msg)
    return given.copy(payload=payload).record()
