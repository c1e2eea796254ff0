"""Flow runs, retry policies and counts."""

from __future__ import annotations

from datetime import datetime

from headgate.api.v1 import flow_run_pb2 as pb
from headgate.api.v1 import flow_run_service_pb2
from headgate.codec import states as state_codec
from headgate.codec import times
from headgate.core import runs, states


def retry_policy_to_proto(
    policy: runs.RetryPolicy, into: pb.RetryPolicy | None = None
) -> pb.RetryPolicy:
    """Turn a retry policy into a message."""
    message = pb.RetryPolicy() if into is None else into
    message.max_retries = policy.max_retries
    for delay in policy.delays_seconds:
        times.set_duration(message.delays.add(), delay)
    message.jitter_factor = policy.jitter_factor
    return message


def retry_policy_from_proto(message: pb.RetryPolicy) -> runs.RetryPolicy:
    """Turn a message into a retry policy."""
    return runs.RetryPolicy(
        max_retries=message.max_retries,
        delays_seconds=tuple(times.from_duration(delay) for delay in message.delays),
        jitter_factor=message.jitter_factor,
    )


def flow_run_to_proto(run: runs.FlowRun, into: pb.FlowRun | None = None) -> pb.FlowRun:
    """Turn a flow run into a message."""
    message = pb.FlowRun() if into is None else into
    message.id = run.id
    message.name = run.name
    message.flow_id = run.flow_id
    message.flow_name = run.flow_name
    message.deployment_id = run.deployment_id or ""
    message.deployment_name = run.deployment_name or ""
    message.flow_version = run.flow_version
    message.parameters.update(run.parameters)
    message.tags.extend(run.tags)
    message.labels.update(run.labels)
    state_codec.state_to_proto(run.state, message.state)
    message.run_count = run.run_count
    if run.retry_policy != runs.NO_RETRIES:
        retry_policy_to_proto(run.retry_policy, message.retry_policy)
    if run.expected_start_time is not None:
        times.set_timestamp(message.expected_start_time, run.expected_start_time)
    if run.start_time is not None:
        times.set_timestamp(message.start_time, run.start_time)
    if run.end_time is not None:
        times.set_timestamp(message.end_time, run.end_time)
    message.parent_task_run_id = run.parent_task_run_id or ""
    message.parent_flow_run_id = run.parent_flow_run_id or ""
    message.root_flow_run_id = run.root_flow_run_id
    message.work_pool_name = run.work_pool_name or ""
    message.work_queue_name = run.work_queue_name or ""
    message.priority = run.priority
    message.job_variables.update(run.job_variables)
    message.auto_scheduled = run.auto_scheduled
    message.fencing_token = run.fencing_token
    message.runner_name = run.runner_name or ""
    message.reschedule_count = run.reschedule_count
    times.set_timestamp(message.create_time, run.create_time)
    message.revision = run.revision
    return message


def flow_run_from_proto(
    message: pb.FlowRun, *, now: datetime = times.EPOCH, new_state_id: str = ""
) -> runs.FlowRun:
    """Turn a message into a flow run.

    Args:
        message: The message. A run without a state becomes Pending, one without an outermost
            run is its own.
        now: The time of a run or state that has none.
        new_state_id: The id of a state that has none.

    Raises:
        InvalidArgument: Its state has no type.
    """
    if message.HasField("state"):
        state = state_codec.state_from_proto(message.state, now=now, new_id=new_state_id)
    else:
        state = states.new_state(states.StateType.PENDING, id=new_state_id, now=now)
    return runs.FlowRun(
        id=message.id,
        name=message.name,
        flow_id=message.flow_id,
        flow_name=message.flow_name,
        deployment_id=message.deployment_id or None,
        deployment_name=message.deployment_name or None,
        flow_version=message.flow_version,
        parameters=dict(message.parameters),
        tags=tuple(message.tags),
        labels=dict(message.labels),
        state=state,
        run_count=message.run_count,
        retry_policy=retry_policy_from_proto(message.retry_policy)
        if message.HasField("retry_policy")
        else runs.NO_RETRIES,
        expected_start_time=times.from_timestamp(message.expected_start_time),
        start_time=times.from_timestamp(message.start_time),
        end_time=times.from_timestamp(message.end_time),
        parent_task_run_id=message.parent_task_run_id or None,
        parent_flow_run_id=message.parent_flow_run_id or None,
        root_flow_run_id=message.root_flow_run_id or message.id,
        work_pool_name=message.work_pool_name or None,
        work_queue_name=message.work_queue_name or None,
        priority=message.priority,
        job_variables=dict(message.job_variables),
        auto_scheduled=message.auto_scheduled,
        fencing_token=message.fencing_token,
        runner_name=message.runner_name or None,
        reschedule_count=message.reschedule_count,
        create_time=times.from_timestamp(message.create_time) or now,
        revision=message.revision,
    )


def state_count_to_proto(
    count: runs.StateCount, into: flow_run_service_pb2.StateCount | None = None
) -> flow_run_service_pb2.StateCount:
    """Turn a count into a message."""
    message = flow_run_service_pb2.StateCount() if into is None else into
    message.type = state_codec.TYPE_TO_PROTO[states.StateType(count.type)]
    message.name = count.name
    message.count = count.count
    return message


def state_count_from_proto(message: flow_run_service_pb2.StateCount) -> runs.StateCount:
    """Turn a message into a count."""
    return runs.StateCount(
        type=state_codec.state_type_from_proto(message.type),
        name=message.name,
        count=message.count,
    )


__all__ = [
    "flow_run_from_proto",
    "flow_run_to_proto",
    "retry_policy_from_proto",
    "retry_policy_to_proto",
    "state_count_from_proto",
    "state_count_to_proto",
]
