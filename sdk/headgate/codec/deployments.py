"""Deployments and their schedules."""

from __future__ import annotations

from datetime import datetime

from headgate.api.v1 import deployment_pb2 as pb
from headgate.codec import times
from headgate.core import deployments, errors

_COLLISION_TO_PROTO: dict[deployments.CollisionStrategy, pb.CollisionStrategy.ValueType] = {
    strategy: pb.CollisionStrategy.Value(f"COLLISION_STRATEGY_{strategy.value}")
    for strategy in deployments.CollisionStrategy
}
_COLLISION_FROM_PROTO: dict[int, deployments.CollisionStrategy] = {
    0: deployments.CollisionStrategy.ENQUEUE
} | {int(v): k for k, v in _COLLISION_TO_PROTO.items()}

_LOSS_TO_PROTO: dict[
    deployments.InfrastructureLossAction, pb.InfrastructureLossAction.ValueType
] = {
    action: pb.InfrastructureLossAction.Value(f"INFRASTRUCTURE_LOSS_ACTION_{action.value}")
    for action in deployments.InfrastructureLossAction
}
_LOSS_FROM_PROTO: dict[int, deployments.InfrastructureLossAction] = {
    0: deployments.InfrastructureLossAction.CRASH
} | {int(v): k for k, v in _LOSS_TO_PROTO.items()}


def schedule_to_proto(
    schedule: deployments.Schedule, into: pb.Schedule | None = None
) -> pb.Schedule:
    """Turn a schedule into a message."""
    message = pb.Schedule() if into is None else into
    message.id = schedule.id
    message.slug = schedule.slug
    message.paused = schedule.paused
    message.parameters.update(schedule.parameters)
    message.max_scheduled_runs = schedule.max_scheduled_runs
    rule = schedule.rule
    match rule:
        case deployments.CronRule():
            message.cron.expression = rule.expression
            message.cron.time_zone = rule.time_zone
            message.cron.day_or = rule.day_or
        case deployments.IntervalRule():
            times.set_duration(message.interval.interval, rule.interval_seconds)
            times.set_timestamp(message.interval.anchor_time, rule.anchor_time)
            message.interval.time_zone = rule.time_zone
        case deployments.RecurrenceRule():
            message.recurrence.rule = rule.rule
            message.recurrence.time_zone = rule.time_zone
    return message


def _rule_from_proto(message: pb.Schedule, now: datetime, field: str) -> deployments.ScheduleRule:
    match message.WhichOneof("rule"):
        case "cron":
            cron = message.cron
            return deployments.CronRule(
                expression=cron.expression,
                time_zone=cron.time_zone or "UTC",
                day_or=cron.day_or if cron.HasField("day_or") else True,
            )
        case "interval":
            interval = message.interval
            return deployments.IntervalRule(
                interval_seconds=times.from_duration(interval.interval),
                anchor_time=times.timestamp_to_datetime(interval.anchor_time)
                if interval.HasField("anchor_time")
                else now,
                time_zone=interval.time_zone or "UTC",
            )
        case "recurrence":
            return deployments.RecurrenceRule(
                rule=message.recurrence.rule, time_zone=message.recurrence.time_zone or "UTC"
            )
        case None:
            raise errors.InvalidArgument.of(
                f"{field}.rule", "A schedule needs a rule: one of cron, interval, recurrence."
            )


def schedule_from_proto(
    message: pb.Schedule, *, now: datetime = times.EPOCH, field: str = "schedule"
) -> deployments.Schedule:
    """Turn a message into a schedule.

    Args:
        message: The message.
        now: The anchor of an interval that has none.
        field: The path of the message, for errors.

    Raises:
        InvalidArgument: It has no rule.
    """
    return deployments.Schedule(
        id=message.id,
        slug=message.slug,
        rule=_rule_from_proto(message, now, field),
        paused=message.paused,
        parameters=dict(message.parameters),
        max_scheduled_runs=message.max_scheduled_runs or deployments.MAX_SCHEDULED_RUNS,
    )


def deployment_to_proto(
    deployment: deployments.Deployment, into: pb.Deployment | None = None
) -> pb.Deployment:
    """Turn a deployment into a message."""
    message = pb.Deployment() if into is None else into
    message.id = deployment.id
    message.name = deployment.name
    message.flow_name = deployment.flow_name
    message.flow_id = deployment.flow_id
    message.entrypoint = deployment.entrypoint
    message.path = deployment.path
    message.description = deployment.description
    message.version = deployment.version
    message.tags.extend(deployment.tags)
    message.labels.update(deployment.labels)
    message.parameters.update(deployment.parameters)
    message.parameter_schema = deployment.parameter_schema
    message.enforce_parameter_schema = deployment.enforce_parameter_schema
    for schedule in deployment.schedules:
        schedule_to_proto(schedule, message.schedules.add())
    message.paused = deployment.paused
    if deployment.concurrency_limit is not None:
        message.concurrency_limit = deployment.concurrency_limit
    message.collision_strategy = _COLLISION_TO_PROTO[deployment.collision_strategy]
    message.work_pool_name = deployment.work_pool_name
    message.work_queue_name = deployment.work_queue_name
    message.job_variables.update(deployment.job_variables)
    for step in deployment.pull_steps:
        added = message.pull_steps.add(name=step.name)
        added.inputs.update(step.inputs)
    loss = deployment.on_infrastructure_loss
    message.on_infrastructure_loss.action = _LOSS_TO_PROTO[loss.action]
    message.on_infrastructure_loss.max_reschedules = loss.max_reschedules
    times.set_timestamp(message.create_time, deployment.create_time)
    times.set_timestamp(message.update_time, deployment.update_time)
    message.etag = deployment.etag
    return message


def _loss_policy_from_proto(
    message: pb.InfrastructureLossPolicy,
) -> deployments.InfrastructureLossPolicy:
    action = _LOSS_FROM_PROTO.get(message.action)
    if action is None:
        raise errors.InvalidArgument.of(
            "deployment.on_infrastructure_loss.action",
            f"{message.action} is not an action; use CRASH or RESCHEDULE.",
        )
    return deployments.InfrastructureLossPolicy(
        action=action,
        max_reschedules=message.max_reschedules if message.HasField("max_reschedules") else 3,
    )


def deployment_from_proto(
    message: pb.Deployment, *, now: datetime = times.EPOCH
) -> deployments.Deployment:
    """Turn a message into a deployment.

    Args:
        message: The message. Pool and queue are ``default`` where it names none.
        now: The anchor of intervals that have none; the times of a deployment without.

    Raises:
        InvalidArgument: A schedule has no rule, or an enum value is unknown.
    """
    collision = _COLLISION_FROM_PROTO.get(message.collision_strategy)
    if collision is None:
        raise errors.InvalidArgument.of(
            "deployment.collision_strategy",
            f"{message.collision_strategy} is not a strategy; use ENQUEUE or CANCEL_NEW.",
        )
    return deployments.Deployment(
        id=message.id,
        name=message.name,
        flow_id=message.flow_id,
        flow_name=message.flow_name,
        entrypoint=message.entrypoint,
        path=message.path,
        description=message.description,
        version=message.version,
        tags=tuple(message.tags),
        labels=dict(message.labels),
        parameters=dict(message.parameters),
        parameter_schema=message.parameter_schema,
        enforce_parameter_schema=message.enforce_parameter_schema,
        schedules=tuple(
            schedule_from_proto(schedule, now=now, field=f"deployment.schedules[{index}]")
            for index, schedule in enumerate(message.schedules)
        ),
        paused=message.paused,
        concurrency_limit=message.concurrency_limit
        if message.HasField("concurrency_limit")
        else None,
        collision_strategy=collision,
        work_pool_name=message.work_pool_name or "default",
        work_queue_name=message.work_queue_name or "default",
        job_variables=dict(message.job_variables),
        pull_steps=tuple(
            deployments.PullStep(name=step.name, inputs=dict(step.inputs))
            for step in message.pull_steps
        ),
        on_infrastructure_loss=_loss_policy_from_proto(message.on_infrastructure_loss),
        create_time=times.from_timestamp(message.create_time) or now,
        update_time=times.from_timestamp(message.update_time) or now,
        etag=message.etag,
    )


__all__ = [
    "deployment_from_proto",
    "deployment_to_proto",
    "schedule_from_proto",
    "schedule_to_proto",
]
