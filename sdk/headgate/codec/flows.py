"""Flows."""

from __future__ import annotations

from headgate.api.v1 import flow_pb2 as pb
from headgate.codec import times
from headgate.core import runs


def flow_to_proto(flow: runs.Flow, into: pb.Flow | None = None) -> pb.Flow:
    """Turn a flow into a message."""
    message = pb.Flow() if into is None else into
    message.id = flow.id
    message.name = flow.name
    message.labels.update(flow.labels)
    message.tags.extend(flow.tags)
    times.set_timestamp(message.create_time, flow.create_time)
    times.set_timestamp(message.update_time, flow.update_time)
    return message


def flow_from_proto(message: pb.Flow) -> runs.Flow:
    """Turn a message into a flow; times that are unset become the epoch."""
    return runs.Flow(
        id=message.id,
        name=message.name,
        labels=dict(message.labels),
        tags=tuple(message.tags),
        create_time=times.timestamp_to_datetime(message.create_time),
        update_time=times.timestamp_to_datetime(message.update_time),
    )


__all__ = ["flow_from_proto", "flow_to_proto"]
