"""What a run returned or raised, as the server keeps it: small things themselves, others by place.

What fits rides along with the state. What is bigger is written to the result storage of the run,
and the state says where. What cannot be kept is no reason to fail: the run has its result, and a
log line says that nobody else will.
"""

from __future__ import annotations

from typing import Any

from headgate import context as contexts
from headgate import payloads
from headgate.core import errors
from headgate.core.states import Payload

__all__ = ["exception_payload", "payload", "restored", "warn"]

Context = contexts.FlowRunContext | contexts.TaskRunContext

#: What keeping may fail with, and the run goes on.
_LOSSES = (
    errors.SerializationError,
    errors.ResultStorageError,
    errors.ConfigurationError,
    errors.LockError,
)


def payload(value: Any, context: Context) -> Payload | None:
    """Return what the server is told of a result; None, and a warning, where it cannot be kept.

    Args:
        value: The result.
        context: The run that returned it.
    """
    if isinstance(value, Payload):
        return value
    serializer = _serializer(context)
    try:
        flow = context if isinstance(context, contexts.FlowRunContext) else context.flow
        calls = flow.calls if flow is not None else None
        if calls is not None:
            # Looked up once per attempt: looking up takes as long as all else here.
            small = payloads.inline(value, serializer, codec=calls.codec)
        else:
            small = payloads.inline(value, serializer)
        return small if small is not None else _stored(value, context)
    except _LOSSES as problem:
        warn(context, f"The result is not kept: {problem}")
        return None


def exception_payload(error: BaseException) -> Payload | None:
    """Return what the server is told of what a run raised; None where it is no small thing.

    Pickles leave its traceback here; the log has it as text.
    """
    try:
        made = payloads.inline(error)
        if made is not None:
            # Many an exception has bytes from which its own constructor cannot make it again.
            payloads.load(made)
    except (errors.SerializationError, errors.ConfigurationError):
        return None
    return made


def restored(kept: Payload) -> Any:
    """Return the value that the server was told of.

    Raises:
        MissingResult: It is not there any more.
        HeadgateError: It cannot be read here.
    """
    if kept.inline is not None:
        return payloads.load(kept)
    from headgate import results  # only where something big was kept

    return results.read_payload(kept)


def warn(context: Context, message: str) -> None:
    """Log a warning of a run."""
    from headgate.logging import loggers  # rarely needed here

    loggers.get_run_logger(context).warning("%s", message)


def _serializer(context: Context) -> Any:
    """Return the serializer that the task, or else the flow, names; None for pickles."""
    if isinstance(context, contexts.FlowRunContext):
        return getattr(context.flow, "result_serializer", None)
    named = getattr(context.task, "result_serializer", None)
    if named is None and context.flow is not None:
        named = getattr(context.flow.flow, "result_serializer", None)
    return named


def _stored(value: Any, context: Context) -> Payload:
    from headgate import results  # only where something big is to be kept

    # In the context of the run its store is found.
    if isinstance(context, contexts.FlowRunContext):
        with contexts.executing(context, None):
            store = results.get_result_store()
    else:
        store = results.get_result_store()
    record = store.create_result_record(value)
    store.persist_result_record(record)
    return store.reference(record)
