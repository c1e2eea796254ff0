"""States, payloads and verdicts."""

from __future__ import annotations

from datetime import datetime

from headgate.api.v1 import state_pb2 as pb
from headgate.api.v1 import verdict_pb2
from headgate.codec import times
from headgate.core import errors, states

TYPE_TO_PROTO: dict[states.StateType, pb.StateType.ValueType] = {
    type: pb.StateType.Value(f"STATE_TYPE_{type.value}") for type in states.StateType
}
_TYPE_FROM_PROTO: dict[int, states.StateType] = {int(v): k for k, v in TYPE_TO_PROTO.items()}
#: The longest message of a state that is sent.
MESSAGE_CHARACTERS_MAX = 10_000
_CUT = "... [truncated]"
_NAMES = {type: type.default_name for type in states.StateType}

VERDICT_TO_PROTO: dict[states.VerdictKind, verdict_pb2.VerdictKind.ValueType] = {
    kind: verdict_pb2.VerdictKind.Value(f"VERDICT_KIND_{kind.value}") for kind in states.VerdictKind
}
_VERDICT_FROM_PROTO: dict[int, states.VerdictKind] = {
    int(v): k for k, v in VERDICT_TO_PROTO.items()
}


def short(text: str) -> str:
    """Cut the message of a state to what is stored; all of an exception's text is in the logs."""
    if len(text) <= MESSAGE_CHARACTERS_MAX:
        return text
    return text[: MESSAGE_CHARACTERS_MAX - len(_CUT)] + _CUT


def state_type_from_proto(value: int, field: str = "state.type") -> states.StateType:
    """Turn an enum value into a type.

    Raises:
        InvalidArgument: It is unspecified or unknown.
    """
    type = _TYPE_FROM_PROTO.get(value)
    if type is None:
        raise errors.InvalidArgument.of(
            field, f"{value} is not a state type; use one of {', '.join(states.StateType)}."
        )
    return type


def payload_to_proto(payload: states.Payload, into: pb.Payload | None = None) -> pb.Payload:
    """Turn a payload into a message."""
    message = pb.Payload() if into is None else into
    message.serializer = payload.serializer
    if payload.inline is not None:
        message.inline = payload.inline
    elif payload.storage_key is not None:
        message.storage_key = payload.storage_key
    return message


def payload_from_proto(message: pb.Payload) -> states.Payload:
    """Turn a message into a payload."""
    content = message.WhichOneof("content")
    return states.Payload(
        serializer=message.serializer,
        inline=message.inline if content == "inline" else None,
        storage_key=message.storage_key if content == "storage_key" else None,
    )


def details_to_proto(
    details: states.StateDetails, into: pb.StateDetails | None = None
) -> pb.StateDetails:
    """Turn state details into a message."""
    message = pb.StateDetails() if into is None else into
    if details.scheduled_time is not None:
        times.set_timestamp(message.scheduled_time, details.scheduled_time)
    if details.child_flow_run_id:
        message.child_flow_run_id = details.child_flow_run_id
    if details.cache_key:
        message.cache_key = details.cache_key
    if details.cache_expire_time is not None:
        times.set_timestamp(message.cache_expire_time, details.cache_expire_time)
    if details.retriable is not None:
        message.retriable = details.retriable
    if details.pause_expire_time is not None:
        times.set_timestamp(message.pause_expire_time, details.pause_expire_time)
    if details.pause_reschedule:
        message.pause_reschedule = True
    if details.pause_key:
        message.pause_key = details.pause_key
    if details.transition_id:
        message.transition_id = details.transition_id
    if details.traceparent:
        message.traceparent = details.traceparent
    if details.call_key:
        message.call_key = details.call_key
    return message


def details_from_proto(message: pb.StateDetails) -> states.StateDetails:
    """Turn a message into state details."""
    return states.StateDetails(
        scheduled_time=times.from_timestamp(message.scheduled_time),
        child_flow_run_id=message.child_flow_run_id or None,
        cache_key=message.cache_key or None,
        cache_expire_time=times.from_timestamp(message.cache_expire_time),
        retriable=message.retriable if message.HasField("retriable") else None,
        pause_expire_time=times.from_timestamp(message.pause_expire_time),
        pause_reschedule=message.pause_reschedule,
        pause_key=message.pause_key or None,
        transition_id=message.transition_id or None,
        traceparent=message.traceparent or None,
        call_key=message.call_key or None,
    )


def state_to_proto(state: states.State, into: pb.State | None = None) -> pb.State:
    """Turn a state into a message. On the hot path."""
    message = pb.State() if into is None else into
    message.id = state.id
    message.type = TYPE_TO_PROTO[state.type]
    message.name = state.name
    times.set_timestamp(message.timestamp, state.timestamp)
    if state.message:
        message.message = short(state.message)
    if state.details is not states.NO_DETAILS:
        details_to_proto(state.details, message.details)
    if state.data is not None:
        payload_to_proto(state.data, message.data)
    return message


def state_from_proto(
    message: pb.State, *, now: datetime = times.EPOCH, new_id: str = ""
) -> states.State:
    """Turn a message into a state. On the hot path.

    Args:
        message: The message.
        now: The timestamp of a state that has none.
        new_id: The id of a state that has none.

    Raises:
        InvalidArgument: It has no type.
    """
    type = _TYPE_FROM_PROTO.get(message.type) or state_type_from_proto(message.type)
    return states.State(
        id=message.id or new_id,
        type=type,
        name=message.name or _NAMES[type],
        timestamp=times.from_timestamp(message.timestamp) or now,
        message=message.message,
        details=details_from_proto(message.details)
        if message.HasField("details")
        else states.NO_DETAILS,
        data=payload_from_proto(message.data) if message.HasField("data") else None,
    )


def verdict_to_proto(
    verdict: states.Verdict, into: verdict_pb2.Verdict | None = None
) -> verdict_pb2.Verdict:
    """Turn a verdict into a message."""
    message = verdict_pb2.Verdict() if into is None else into
    message.kind = VERDICT_TO_PROTO[verdict.kind]
    if verdict.state is not None:
        state_to_proto(verdict.state, message.state)
    message.reason = verdict.reason
    if verdict.delay_seconds:
        times.set_duration(message.delay, verdict.delay_seconds)
    return message


def verdict_from_proto(message: verdict_pb2.Verdict) -> states.Verdict:
    """Turn a message into a verdict.

    Raises:
        InvalidArgument: Its kind is unspecified or unknown.
    """
    kind = _VERDICT_FROM_PROTO.get(message.kind)
    if kind is None:
        raise errors.InvalidArgument.of("verdict.kind", f"{message.kind} is not a verdict.")
    return states.Verdict(
        kind=kind,
        state=state_from_proto(message.state) if message.HasField("state") else None,
        reason=message.reason,
        delay_seconds=times.from_duration(message.delay),
    )


__all__ = [
    "TYPE_TO_PROTO",
    "VERDICT_TO_PROTO",
    "details_from_proto",
    "details_to_proto",
    "payload_from_proto",
    "payload_to_proto",
    "state_from_proto",
    "state_to_proto",
    "state_type_from_proto",
    "verdict_from_proto",
    "verdict_to_proto",
]
