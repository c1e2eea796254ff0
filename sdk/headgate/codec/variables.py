"""Variables."""

from __future__ import annotations

from headgate.api.v1 import variable_pb2 as pb
from headgate.codec import times
from headgate.core import variables


def variable_to_proto(variable: variables.Variable, into: pb.Variable | None = None) -> pb.Variable:
    """Turn a variable into a message."""
    message = pb.Variable() if into is None else into
    message.id = variable.id
    message.name = variable.name
    message.value = variable.value_json
    message.tags.extend(variable.tags)
    times.set_timestamp(message.create_time, variable.create_time)
    times.set_timestamp(message.update_time, variable.update_time)
    return message


def variable_from_proto(message: pb.Variable) -> variables.Variable:
    """Turn a message into a variable; times that are unset become the epoch."""
    return variables.Variable(
        id=message.id,
        name=message.name,
        value_json=message.value,
        tags=tuple(message.tags),
        create_time=times.timestamp_to_datetime(message.create_time),
        update_time=times.timestamp_to_datetime(message.update_time),
    )


__all__ = ["variable_from_proto", "variable_to_proto"]
