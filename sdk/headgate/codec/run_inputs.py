"""Inputs of flow runs."""

from __future__ import annotations

from headgate.api.v1 import run_input_pb2 as pb
from headgate.codec import times
from headgate.core import run_inputs


def run_input_to_proto(
    run_input: run_inputs.RunInput, into: pb.RunInput | None = None
) -> pb.RunInput:
    """Turn an input into a message."""
    message = pb.RunInput() if into is None else into
    message.id = run_input.id
    message.flow_run_id = run_input.flow_run_id
    message.key = run_input.key
    message.value = run_input.value
    message.sender = run_input.sender or ""
    message.place = run_input.place
    times.set_timestamp(message.create_time, run_input.create_time)
    return message


def run_input_from_proto(message: pb.RunInput) -> run_inputs.RunInput:
    """Turn a message into an input; a time that is unset becomes the epoch."""
    return run_inputs.RunInput(
        id=message.id,
        flow_run_id=message.flow_run_id,
        key=message.key,
        value=message.value,
        sender=message.sender or None,
        place=message.place,
        create_time=times.timestamp_to_datetime(message.create_time),
    )


__all__ = ["run_input_from_proto", "run_input_to_proto"]
