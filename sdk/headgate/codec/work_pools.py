"""Work pools, queues and runners."""

from __future__ import annotations

from headgate.api.v1 import work_pool_pb2 as pb
from headgate.codec import times
from headgate.core import deployments

_STATE_TO_PROTO: dict[deployments.WorkPoolState, pb.WorkPoolState.ValueType] = {
    state: pb.WorkPoolState.Value(f"WORK_POOL_STATE_{state.value}")
    for state in deployments.WorkPoolState
}
_STATE_FROM_PROTO: dict[int, deployments.WorkPoolState] = {
    int(v): k for k, v in _STATE_TO_PROTO.items()
}


def work_pool_to_proto(pool: deployments.WorkPool, into: pb.WorkPool | None = None) -> pb.WorkPool:
    """Turn a work pool into a message."""
    message = pb.WorkPool() if into is None else into
    message.id = pool.id
    message.name = pool.name
    message.type = pool.type
    message.description = pool.description
    if pool.concurrency_limit is not None:
        message.concurrency_limit = pool.concurrency_limit
    message.paused = pool.paused
    message.state = _STATE_TO_PROTO[pool.state]
    message.base_job_template = pool.base_job_template
    times.set_timestamp(message.create_time, pool.create_time)
    times.set_timestamp(message.update_time, pool.update_time)
    return message


def work_pool_from_proto(message: pb.WorkPool) -> deployments.WorkPool:
    """Turn a message into a work pool; times that are unset become the epoch."""
    return deployments.WorkPool(
        id=message.id,
        name=message.name,
        type=message.type or "process",
        description=message.description,
        concurrency_limit=message.concurrency_limit
        if message.HasField("concurrency_limit")
        else None,
        paused=message.paused,
        state=_STATE_FROM_PROTO.get(message.state, deployments.WorkPoolState.NOT_READY),
        base_job_template=message.base_job_template,
        create_time=times.timestamp_to_datetime(message.create_time),
        update_time=times.timestamp_to_datetime(message.update_time),
    )


def work_queue_to_proto(
    queue: deployments.WorkQueue, into: pb.WorkQueue | None = None
) -> pb.WorkQueue:
    """Turn a work queue into a message."""
    message = pb.WorkQueue() if into is None else into
    message.id = queue.id
    message.name = queue.name
    message.work_pool_name = queue.work_pool_name
    message.description = queue.description
    message.priority = queue.priority
    if queue.concurrency_limit is not None:
        message.concurrency_limit = queue.concurrency_limit
    message.paused = queue.paused
    times.set_timestamp(message.create_time, queue.create_time)
    return message


def work_queue_from_proto(message: pb.WorkQueue) -> deployments.WorkQueue:
    """Turn a message into a work queue; priority 0 means that none was chosen."""
    return deployments.WorkQueue(
        id=message.id,
        name=message.name,
        work_pool_name=message.work_pool_name,
        description=message.description,
        priority=message.priority,
        concurrency_limit=message.concurrency_limit
        if message.HasField("concurrency_limit")
        else None,
        paused=message.paused,
        create_time=times.timestamp_to_datetime(message.create_time),
    )


def runner_to_proto(runner: deployments.Runner, into: pb.Runner | None = None) -> pb.Runner:
    """Turn a runner into a message."""
    message = pb.Runner() if into is None else into
    message.id = runner.id
    message.name = runner.name
    message.work_pool_names.extend(runner.work_pool_names)
    message.work_queue_names.extend(runner.work_queue_names)
    message.state = pb.RUNNER_STATE_ONLINE if runner.online else pb.RUNNER_STATE_OFFLINE
    message.slots = runner.slots
    message.leases = runner.leases
    times.set_timestamp(message.last_beat_time, runner.last_beat_time)
    message.sdk = runner.sdk
    return message


def runner_from_proto(message: pb.Runner) -> deployments.Runner:
    """Turn a message into a runner."""
    return deployments.Runner(
        id=message.id,
        name=message.name,
        work_pool_names=tuple(message.work_pool_names),
        work_queue_names=tuple(message.work_queue_names),
        online=message.state == pb.RUNNER_STATE_ONLINE,
        slots=message.slots,
        leases=message.leases,
        last_beat_time=times.timestamp_to_datetime(message.last_beat_time),
        sdk=message.sdk,
    )


__all__ = [
    "runner_from_proto",
    "runner_to_proto",
    "work_pool_from_proto",
    "work_pool_to_proto",
    "work_queue_from_proto",
    "work_queue_to_proto",
]
