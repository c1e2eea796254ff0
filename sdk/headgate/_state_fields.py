"""The fields of states that are made by hand, for ``headgate.states``.

The link sends states on a thread of its own. What it cannot encode would end it, and with it all
runs of the process, so that is refused where the state is made.
"""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC
from typing import Any

from headgate import _options
from headgate.core import errors, ids, states
from headgate.core.clock import process_clock as _clock
from headgate.core.states import NO_DETAILS, StateDetails

__all__ = ["aware", "settle", "with_own"]

#: What texts, flags and times a state carries beside.
_DETAIL_TEXTS = (
    "child_flow_run_id",
    "cache_key",
    "pause_key",
    "transition_id",
    "traceparent",
    "call_key",
)
_DETAIL_FLAGS = ("retriable", "pause_reschedule")
_DETAIL_TIMES = ("scheduled_time", "cache_expire_time", "pause_expire_time")


def settle(state: Any) -> None:
    """Bring the fields of a state made by hand into the form that is sent, or refuse them.

    Raises:
        OptionTypeError: A field is of another type.
        OptionValueError: A text cannot be written.
    """
    id = _text(state.id, "id")
    object.__setattr__(state, "id", ids.new_id() if id is None else id)
    for name in ("name", "message"):
        object.__setattr__(state, name, _text(getattr(state, name), name))
    time = aware(state.timestamp, "timestamp")
    object.__setattr__(state, "timestamp", _clock.now() if time is None else time)
    payload: object = state.payload
    if payload is not None and not isinstance(payload, states.Payload):
        msg = f"payload is {payload!r}; give what the run returned as data."
        raise errors.OptionTypeError(msg)
    details = _checked_details(state.details)
    if details is NO_DETAILS:
        return
    for name in _DETAIL_FLAGS:
        if (given := getattr(details, name)) is not None:
            _options.checked_flag(given, name)
    changes: dict[str, Any] = {}
    for names, settled in ((_DETAIL_TEXTS, _text), (_DETAIL_TIMES, aware)):
        for name in names:
            given = getattr(details, name)
            if (made := settled(given, name)) is not given:
                changes[name] = made
    if changes:
        object.__setattr__(state, "details", dataclasses.replace(details, **changes))


def _checked_details(given: object) -> StateDetails:
    if not isinstance(given, StateDetails):
        msg = f"details is {given!r}; use a headgate.states.StateDetails."
        raise errors.OptionTypeError(msg)
    return given


def with_own(fields: dict[str, Any], **own: Any) -> StateDetails:
    """Take the details out of what a state is made of, with what its type says beside."""
    given = fields.pop("details", None)
    return dataclasses.replace(NO_DETAILS if given is None else _checked_details(given), **own)


def _text(given: Any, option: str) -> Any:
    """Return a text, or None; UUIDs become texts."""
    if isinstance(given, uuid.UUID):
        return str(given)
    text = _options.checked_text(given, option)
    if text is not None and option != "message" and not _options.is_encodable(text):
        msg = f"{option} is {text!r}, which cannot be written; leave out half pairs of surrogates."
        raise errors.OptionValueError(msg)
    return text


def aware(given: Any, option: str) -> Any:
    """Return a time; one without a zone is taken for UTC, as everywhere."""
    time = _options.checked_time(given, option)
    return time if time is None or time.tzinfo is not None else time.replace(tzinfo=UTC)
