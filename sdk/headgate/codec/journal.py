"""Lines of the journal."""

from __future__ import annotations

from headgate.api.v1 import watch_service_pb2 as pb
from headgate.codec import states as state_codec
from headgate.codec import times
from headgate.core import errors, runs

KIND_TO_PROTO: dict[runs.RunKind, pb.RunKind.ValueType] = {
    kind: pb.RunKind.Value(f"RUN_KIND_{kind.value}") for kind in runs.RunKind
}
_KIND_FROM_PROTO: dict[int, runs.RunKind] = {int(v): k for k, v in KIND_TO_PROTO.items()}


def run_kind_from_proto(value: int, field: str = "kind") -> runs.RunKind | None:
    """Turn an enum value into a kind; unspecified into None.

    Raises:
        InvalidArgument: It is unknown.
    """
    if value == pb.RUN_KIND_UNSPECIFIED:
        return None
    kind = _KIND_FROM_PROTO.get(value)
    if kind is None:
        raise errors.InvalidArgument.of(
            field, f"{value} is not a kind of run; use one of {', '.join(runs.RunKind)}."
        )
    return kind


def transition_record_to_proto(
    record: runs.TransitionRecord, into: pb.TransitionRecord | None = None
) -> pb.TransitionRecord:
    """Turn a line of the journal into a message; without the data of the state."""
    message = pb.TransitionRecord() if into is None else into
    message.revision = record.revision
    message.kind = KIND_TO_PROTO[record.kind]
    message.run_id = record.run_id
    message.run_name = record.run_name
    message.flow_run_id = record.flow_run_id
    state_codec.state_to_proto(record.state, message.state)
    message.state.ClearField("data")
    times.set_timestamp(message.commit_time, record.commit_time)
    return message


def transition_record_from_proto(message: pb.TransitionRecord) -> runs.TransitionRecord:
    """Turn a message into a line of the journal.

    The message does not carry the outermost run and the deployment: they are empty.
    """
    return runs.TransitionRecord(
        revision=message.revision,
        kind=run_kind_from_proto(message.kind) or runs.RunKind.FLOW_RUN,
        run_id=message.run_id,
        run_name=message.run_name,
        flow_run_id=message.flow_run_id,
        root_flow_run_id="",
        deployment_id=None,
        state=state_codec.state_from_proto(message.state),
        commit_time=times.timestamp_to_datetime(message.commit_time),
    )


__all__ = [
    "KIND_TO_PROTO",
    "run_kind_from_proto",
    "transition_record_from_proto",
    "transition_record_to_proto",
]
