"""Results of flow runs that are kept: written before the end of the run, which tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headgate import payloads
from headgate import states as state_makers
from headgate.core import errors
from headgate.engine import keeping
from headgate.engine.effects import Steps, Twin
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate.context import FlowRunContext
    from headgate.core.states import Payload

__all__ = ["keep", "lighten"]


def keep(context: FlowRunContext, final: State[Any]) -> Steps[State[Any]]:
    """Keep what a run returned or raised, where it is to be kept; returns the state to propose."""
    if not context.persist_result or final.payload is not None:
        return final
    data = final.data
    if final.type is StateType.COMPLETED:
        if isinstance(data, State) or state_makers.is_state_iterable(data):
            # They have results of their own.
            return final
        payload: Payload | None = yield Twin(_kept, _akept, context, data)
    elif isinstance(data, BaseException):
        payload = keeping.exception_payload(data)
    else:
        return final
    return final.copy(payload=payload)


def lighten(context: FlowRunContext, state: State[Any]) -> State[Any]:
    """Return the final state without a result that is to be read where it is kept."""
    kept = context.persist_result and state.is_completed() and state.payload is not None
    return state.without_data() if kept and not context.flow.cache_result_in_memory else state


def _kept(context: FlowRunContext, value: Any) -> Payload | None:
    """Write a result; returns what the server is told of it, None where it cannot be kept."""
    try:
        store = context.result_store
        record = store.create_result_record(value)
        content = record.serialize_result()
        store.persist_result_record(record)
        if store.is_default and len(content) <= payloads.INLINE_BYTES_MAX:
            return record.metadata.inline(content)
        return store.reference(record)
    except errors.HeadgateError as problem:
        keeping.warn(context, f"The result is not kept: {problem}")
        return None


async def _akept(context: FlowRunContext, value: Any) -> Payload | None:
    import asyncio

    return await asyncio.to_thread(_kept, context, value)
