"""Records to rows, and rows to records. Times are turned by the column types."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from headgate.core import deployments, runs, states
from headgate_server.storage import readiness, records
from headgate_server.storage.sql import json_text
from headgate_server.storage.sql.types import to_micros

#: A row to be stored: column to value.
Values = dict[str, Any]

#: What a result row is here: its columns are found by name.
Row = sa.Row[*tuple[Any, ...]]

#: Cheaper than to call the enum, on paths that read thousands.
STATE_TYPES = {type.value: type for type in states.StateType}


def flow_values(flow: runs.Flow) -> Values:
    """Return the row of a flow."""
    return {
        "id": flow.id,
        "name": flow.name,
        "labels": json_text.dump_map(flow.labels),
        "tags": json_text.dump_texts(flow.tags),
        "create_time": flow.create_time,
        "update_time": flow.update_time,
    }


def flow(row: Row) -> runs.Flow:
    """Read a flow."""
    return runs.Flow(
        id=row.id,
        name=row.name,
        labels=json_text.load_map(row.labels),
        tags=json_text.load_texts(row.tags),
        create_time=row.create_time,
        update_time=row.update_time,
    )


def deployment_values(deployment: deployments.Deployment) -> Values:
    """Return the row of a deployment."""
    return {
        "id": deployment.id,
        "name": deployment.name,
        "flow_id": deployment.flow_id,
        "flow_name": deployment.flow_name,
        "entrypoint": deployment.entrypoint,
        "path": deployment.path,
        "description": deployment.description,
        "version": deployment.version,
        "tags": json_text.dump_texts(deployment.tags),
        "labels": json_text.dump_map(deployment.labels),
        "parameters": json_text.dump_map(deployment.parameters),
        "parameter_schema": deployment.parameter_schema,
        "enforce_parameter_schema": deployment.enforce_parameter_schema,
        "schedules": json_text.dump_schedules(deployment.schedules),
        "paused": deployment.paused,
        "is_scheduled": not deployment.paused
        and any(not schedule.paused for schedule in deployment.schedules),
        "concurrency_limit": deployment.concurrency_limit,
        "collision_strategy": deployment.collision_strategy.value,
        "work_pool_name": deployment.work_pool_name,
        "work_queue_name": deployment.work_queue_name,
        "job_variables": json_text.dump_map(deployment.job_variables),
        "pull_steps": json_text.dump_pull_steps(deployment.pull_steps),
        "loss_action": deployment.on_infrastructure_loss.action.value,
        "loss_max_reschedules": deployment.on_infrastructure_loss.max_reschedules,
        "create_time": deployment.create_time,
        "update_time": deployment.update_time,
        "etag": deployment.etag,
    }


def deployment(row: Row) -> deployments.Deployment:
    """Read a deployment."""
    return deployments.Deployment(
        id=row.id,
        name=row.name,
        flow_id=row.flow_id,
        flow_name=row.flow_name,
        entrypoint=row.entrypoint,
        path=row.path,
        description=row.description,
        version=row.version,
        tags=json_text.load_texts(row.tags),
        labels=json_text.load_map(row.labels),
        parameters=json_text.load_map(row.parameters),
        parameter_schema=row.parameter_schema,
        enforce_parameter_schema=row.enforce_parameter_schema,
        schedules=json_text.load_schedules(row.schedules),
        paused=row.paused,
        concurrency_limit=row.concurrency_limit,
        collision_strategy=deployments.CollisionStrategy(row.collision_strategy),
        work_pool_name=row.work_pool_name,
        work_queue_name=row.work_queue_name,
        job_variables=json_text.load_map(row.job_variables),
        pull_steps=json_text.load_pull_steps(row.pull_steps),
        on_infrastructure_loss=deployments.InfrastructureLossPolicy(
            action=deployments.InfrastructureLossAction(row.loss_action),
            max_reschedules=row.loss_max_reschedules,
        ),
        create_time=row.create_time,
        update_time=row.update_time,
        etag=row.etag,
    )


def state(row: Row) -> states.State:
    """Read a state from a row that has the columns of a journal line."""
    data = None
    if row.data_serializer is not None:
        data = states.Payload(
            serializer=row.data_serializer,
            inline=row.data_inline,
            storage_key=row.data_storage_key,
        )
    return states.State(
        id=row.state_id,
        type=STATE_TYPES[row.state_type],
        name=row.state_name,
        timestamp=row.state_timestamp,
        message=row.message,
        details=json_text.load_details(row.details),
        data=data,
    )


def flow_run_transition_values(run: runs.FlowRun) -> Values:
    """Return those columns of a flow run that a transition may change, but for its token."""
    return {
        "state_id": run.state.id,
        "state_type": run.state.type.value,
        "state_name": run.state.name,
        "state_timestamp": run.state.timestamp,
        "pause_expire_time": run.state.details.pause_expire_time,
        "run_count": run.run_count,
        "expected_start_time": run.expected_start_time,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "reschedule_count": run.reschedule_count,
        "order_time": to_micros(readiness.order_time(run)),
    }


def flow_run_values(run: runs.FlowRun) -> Values:
    """Return the row of a flow run, without its revision."""
    return {
        **flow_run_transition_values(run),
        "priority": run.priority,
        "work_queue_name": run.work_queue_name,
        "id": run.id,
        "name": run.name,
        "flow_id": run.flow_id,
        "flow_name": run.flow_name,
        "deployment_id": run.deployment_id,
        "flow_version": run.flow_version,
        "parameters": json_text.dump_map(run.parameters),
        "tags": json_text.dump_texts(run.tags),
        "labels": json_text.dump_map(run.labels),
        "retry_policy": json_text.dump_retry_policy(run.retry_policy),
        "parent_task_run_id": run.parent_task_run_id,
        "parent_flow_run_id": run.parent_flow_run_id,
        "root_flow_run_id": run.root_flow_run_id,
        "work_pool_name": run.work_pool_name,
        "job_variables": json_text.dump_map(run.job_variables),
        "auto_scheduled": run.auto_scheduled,
        "idempotency_key": run.idempotency_key,
        "fencing_token": run.fencing_token,
        "committed_seq": run.committed_seq,
        "committed_log_seq": run.committed_log_seq,
        "create_time": run.create_time,
    }


def flow_run(row: Row) -> runs.FlowRun:
    """Read a flow run, joined with its journal line, deployment and lease."""
    return runs.FlowRun(
        id=row.id,
        name=row.name,
        flow_id=row.flow_id,
        flow_name=row.flow_name,
        deployment_id=row.deployment_id,
        deployment_name=f"{row.flow_name}/{row.deployment_name}" if row.deployment_name else None,
        flow_version=row.flow_version,
        parameters=json_text.load_map(row.parameters),
        tags=json_text.load_texts(row.tags),
        labels=json_text.load_map(row.labels),
        state=state(row),
        run_count=row.run_count,
        retry_policy=json_text.load_retry_policy(row.retry_policy),
        expected_start_time=row.expected_start_time,
        start_time=row.start_time,
        end_time=row.end_time,
        parent_task_run_id=row.parent_task_run_id,
        parent_flow_run_id=row.parent_flow_run_id,
        root_flow_run_id=row.root_flow_run_id,
        work_pool_name=row.work_pool_name,
        work_queue_name=row.work_queue_name,
        priority=row.priority,
        job_variables=json_text.load_map(row.job_variables),
        auto_scheduled=row.auto_scheduled,
        idempotency_key=row.idempotency_key,
        fencing_token=row.fencing_token,
        runner_name=row.runner_name,
        reschedule_count=row.reschedule_count,
        committed_seq=row.committed_seq,
        committed_log_seq=row.committed_log_seq,
        create_time=row.create_time,
        revision=row.revision,
    )


def task_run(row: Row) -> runs.TaskRun:
    """Read a task run, joined with its journal line."""
    return runs.TaskRun(
        id=row.id,
        name=row.name,
        flow_run_id=row.flow_run_id,
        task_key=row.task_key,
        dynamic_key=row.dynamic_key,
        task_version=row.task_version,
        tags=json_text.load_texts(row.tags),
        state=state(row),
        run_count=row.run_count,
        max_retries=row.max_retries,
        expected_start_time=row.expected_start_time,
        start_time=row.start_time,
        end_time=row.end_time,
        parent_task_run_id=row.parent_task_run_id,
        upstream_run_ids=json_text.load_texts(row.upstream_run_ids),
        flow_run_attempt=row.flow_run_attempt,
        create_time=row.create_time,
        revision=row.revision,
    )


def recorded_call(row: Row) -> runs.RecordedCall:
    """Read a call of a durable flow, with its state where that was selected."""
    has_state = "state_id" in row._mapping  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's public name
    return runs.RecordedCall(
        task_run_id=row.id,
        call_key=json_text.load_details(row.details).call_key or "",
        dynamic_key=row.dynamic_key,
        state=state(row) if has_state else None,
    )


def log_record(row: Row) -> runs.LogRecord:
    """Read a log line."""
    return runs.LogRecord(
        id=row.id,
        flow_run_id=row.flow_run_id,
        task_run_id=row.task_run_id,
        timestamp=row.timestamp,
        level=row.level,
        logger=row.logger,
        message=row.message,
    )


def work_pool_values(pool: deployments.WorkPool) -> Values:
    """Return the row of a work pool; its state is not stored."""
    return {
        "id": pool.id,
        "name": pool.name,
        "type": pool.type,
        "description": pool.description,
        "concurrency_limit": pool.concurrency_limit,
        "paused": pool.paused,
        "base_job_template": pool.base_job_template,
        "create_time": pool.create_time,
        "update_time": pool.update_time,
    }


def work_pool(row: Row, pools_online: frozenset[str]) -> deployments.WorkPool:
    """Read a work pool, given which pools have a runner online."""
    if row.paused:
        pool_state = deployments.WorkPoolState.PAUSED
    elif row.name in pools_online:
        pool_state = deployments.WorkPoolState.READY
    else:
        pool_state = deployments.WorkPoolState.NOT_READY
    return deployments.WorkPool(
        id=row.id,
        name=row.name,
        type=row.type,
        description=row.description,
        concurrency_limit=row.concurrency_limit,
        paused=row.paused,
        state=pool_state,
        base_job_template=row.base_job_template,
        create_time=row.create_time,
        update_time=row.update_time,
    )


def work_queue_values(queue: deployments.WorkQueue) -> Values:
    """Return the row of a work queue."""
    return {
        "id": queue.id,
        "name": queue.name,
        "work_pool_name": queue.work_pool_name,
        "description": queue.description,
        "priority": queue.priority,
        "concurrency_limit": queue.concurrency_limit,
        "paused": queue.paused,
        "create_time": queue.create_time,
    }


def work_queue(row: Row) -> deployments.WorkQueue:
    """Read a work queue."""
    return deployments.WorkQueue(
        id=row.id,
        name=row.name,
        work_pool_name=row.work_pool_name,
        description=row.description,
        priority=row.priority,
        concurrency_limit=row.concurrency_limit,
        paused=row.paused,
        create_time=row.create_time,
    )


def session_values(session: records.Session) -> Values:
    """Return the row of a session."""
    return {
        "id": session.id,
        "kind": session.kind.value,
        "name": session.name,
        "instance_id": session.instance_id,
        "resume_token_hash": session.resume_token_hash,
        "epoch": session.epoch,
        "work_pool_names": json_text.dump_texts(session.work_pool_names),
        "work_queue_names": json_text.dump_texts(session.work_queue_names),
        "slots": session.slots,
        "sdk": session.sdk,
        "last_beat_time": session.last_beat_time,
        "expire_time": session.expire_time,
    }


def session(row: Row) -> records.Session:
    """Read a session."""
    return records.Session(
        id=row.id,
        kind=records.SessionKind(row.kind),
        name=row.name,
        instance_id=row.instance_id,
        resume_token_hash=row.resume_token_hash,
        epoch=row.epoch,
        work_pool_names=json_text.load_texts(row.work_pool_names),
        work_queue_names=json_text.load_texts(row.work_queue_names),
        slots=row.slots,
        sdk=row.sdk,
        last_beat_time=row.last_beat_time,
        expire_time=row.expire_time,
    )


def lease(row: Row) -> records.Lease:
    """Read a lease."""
    return records.Lease(
        flow_run_id=row.flow_run_id,
        fencing_token=row.fencing_token,
        session_id=row.session_id,
        accepted=row.accepted,
        offer_expire_time=row.offer_expire_time,
    )
