"""Task runs. On the hot path: every task call passes here twice."""

from __future__ import annotations

from datetime import datetime

from headgate.api.v1 import task_run_pb2 as pb
from headgate.api.v1 import task_run_service_pb2
from headgate.codec import states as state_codec
from headgate.codec import times
from headgate.core import runs


def task_run_to_proto(run: runs.TaskRun, into: pb.TaskRun | None = None) -> pb.TaskRun:
    """Turn a task run into a message."""
    message = pb.TaskRun() if into is None else into
    message.id = run.id
    message.name = run.name
    message.flow_run_id = run.flow_run_id
    message.task_key = run.task_key
    message.dynamic_key = run.dynamic_key
    if run.task_version:
        message.task_version = run.task_version
    if run.tags:
        message.tags.extend(run.tags)
    state_codec.state_to_proto(run.state, message.state)
    message.run_count = run.run_count
    if run.max_retries:
        message.max_retries = run.max_retries
    if run.expected_start_time is not None:
        times.set_timestamp(message.expected_start_time, run.expected_start_time)
    if run.start_time is not None:
        times.set_timestamp(message.start_time, run.start_time)
    if run.end_time is not None:
        times.set_timestamp(message.end_time, run.end_time)
    if run.parent_task_run_id:
        message.parent_task_run_id = run.parent_task_run_id
    if run.upstream_run_ids:
        message.upstream_run_ids.extend(run.upstream_run_ids)
    message.flow_run_attempt = run.flow_run_attempt
    times.set_timestamp(message.create_time, run.create_time)
    message.revision = run.revision
    return message


def task_run_from_proto(message: pb.TaskRun, *, now: datetime = times.EPOCH) -> runs.TaskRun:
    """Turn a message into a task run.

    Args:
        message: The message.
        now: The time of a run or state that has none.

    Raises:
        InvalidArgument: Its state has no type.
    """
    return runs.TaskRun(
        id=message.id,
        name=message.name,
        flow_run_id=message.flow_run_id,
        task_key=message.task_key,
        dynamic_key=message.dynamic_key,
        task_version=message.task_version,
        tags=tuple(message.tags),
        state=state_codec.state_from_proto(message.state, now=now),
        run_count=message.run_count,
        max_retries=message.max_retries,
        expected_start_time=times.from_timestamp(message.expected_start_time),
        start_time=times.from_timestamp(message.start_time),
        end_time=times.from_timestamp(message.end_time),
        parent_task_run_id=message.parent_task_run_id or None,
        upstream_run_ids=tuple(message.upstream_run_ids),
        flow_run_attempt=message.flow_run_attempt or 1,
        create_time=times.from_timestamp(message.create_time) or now,
        revision=message.revision,
    )


def recorded_call_to_proto(
    call: runs.RecordedCall, into: task_run_service_pb2.RecordedCall | None = None
) -> task_run_service_pb2.RecordedCall:
    """Turn a call of a durable flow into a message."""
    message = task_run_service_pb2.RecordedCall() if into is None else into
    message.task_run_id = call.task_run_id
    message.call_key = call.call_key
    message.dynamic_key = call.dynamic_key
    if call.state is not None:
        state_codec.state_to_proto(call.state, message.state)
    return message


def recorded_call_from_proto(message: task_run_service_pb2.RecordedCall) -> runs.RecordedCall:
    """Turn a message into a call of a durable flow."""
    return runs.RecordedCall(
        task_run_id=message.task_run_id,
        call_key=message.call_key,
        dynamic_key=message.dynamic_key,
        state=state_codec.state_from_proto(message.state) if message.HasField("state") else None,
    )


__all__ = [
    "recorded_call_from_proto",
    "recorded_call_to_proto",
    "task_run_from_proto",
    "task_run_to_proto",
]
